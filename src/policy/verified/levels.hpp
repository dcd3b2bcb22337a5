#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "policy/verified/rate_tests.hpp"
#include "policy/verified/state_bytes.hpp"

namespace promptcache::verified {

/// A candidate as the levels see it.
struct Scored {
  double score = 0;  ///< P(right) by model and entry
  double model = 0;  ///< by the model alone
};

struct Level {
  double score = 0;                                         ///< least score
  double model = -std::numeric_limits<double>::infinity();  ///< least probability by the model, where it was certified
  double weight = 0;                                        ///< share of the confidence that its test gets
  bool open = false;
  std::uint64_t opened_in = 0;  ///< epoch
  OpeningTest test;             ///< while closed
  Alarm alarm;                  ///< while open
  double wrong = 0;             ///< over requests: recent wrong candidates among them, estimated

  bool holds(const Scored& candidate) const {
    constexpr double rounding = 1e-12;  // of a right verdict that changes nothing
    return candidate.score >= score - rounding && candidate.model >= model;
  }
};

/// Kinds of candidates, "of at least this score", from the strictest on; which of them may be served.
///
/// Over hits a level opens when its test has proven that its candidates are wrong at a rate below epsilon, and closes,
/// with all looser ones, at an alarm; then they are to be proven again. The confidence is shared out: over epochs, each
/// begun by a closing, 7/10, 3/20, 1/20 ...; in an epoch over levels by weights that do not depend on verdicts; and a
/// level that opens passes its share on to the next looser one (Wiens 2003), so that the chance that any level is ever
/// opened whose rate has been at least epsilon all the time is at most delta.
///
/// Over requests the account alone holds the promise, and levels only keep it from being used up: a level is taken
/// while its candidates seem to be wrong in less than epsilon of the recent requests.
class Levels {
 public:
  struct Options {
    double epsilon = 0, delta = 0, false_alarm_after = 0;
    bool over_requests = false;
  };

  explicit Levels(const Options& options) : options_(options) {}

  /// A level that has been proven elsewhere: open from the start.
  void certify(const Scored& least);

  /// Counts a request. The first scores fix the levels, at their quantiles and above.
  void count_request(double score);

  /// The loosest level whose candidates may be served.
  const Level* current() const;
  double alarm_of_current() const { return current_ == none ? 0 : levels_[current_].alarm.sum(); }
  bool explorable(const Scored& candidate) const;
  bool ready() const { return scores_.size() >= scores_wanted; }

  /// A verdict, in the order of the requests. `weight`: least probability of an audit at that time over that of this
  /// one. True when it closes levels.
  bool observe(const Scored& candidate, bool wrong, double weight, double audit_probability);

  /// Closes the loosest open level and looser ones; they are to be proven anew.
  bool close_current();
  void close_all();

  std::uint64_t alarms() const { return epoch_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  static constexpr std::size_t scores_wanted = 64;

  void make_levels();
  void close_from(std::size_t first);
  double alpha(std::size_t level) const;
  void choose_current();

  Options options_;
  std::vector<Level> levels_;  // from the strictest to the loosest
  std::vector<double> scores_;
  std::uint64_t epoch_ = 0;
  double requests_ = 0;  // recent ones
  std::size_t current_ = none;

  static constexpr std::size_t none = SIZE_MAX;
};

}  // namespace promptcache::verified
