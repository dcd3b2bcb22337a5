#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "policy/verified/account.hpp"
#include "policy/verified/entries.hpp"
#include "policy/verified/levels.hpp"
#include "policy/verified/local_rates.hpp"
#include "promptcache/policy/verified_policy.hpp"

namespace promptcache::verified {

/// The policy without locks and files. All that it decides follows from the options, the order of calls and their
/// arguments.
class Core {
 public:
  Core(std::shared_ptr<const EvidenceModel> model, const VerifiedPolicyOptions& options);

  Decision decide(const Evidence& evidence) const;
  void record(const Evidence& evidence, Decision& decision);
  void judged(std::uint64_t audit, Verdict verdict);
  void reported_wrong(const Evidence& evidence);
  void forget_pending();
  VerifiedStatus status() const;

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  /// A verdict that was asked for. They are worked off in the order of the requests, so that those which come soon do
  /// not count before those which come late; until then the account takes them for wrong.
  struct Pending {
    EntryId entry = 0;
    Scored candidate;
    double weight = 1;                ///< in the tests of levels
    double probability = 1;           ///< of the audit
    std::optional<std::size_t> rate;  ///< of the account; none for a refused candidate
    bool tested = false;              ///< the levels were fixed when it came
    std::optional<Verdict> verdict;
  };

  struct Choice {
    Scored candidate;
    bool takes = false;  ///< served, but for the audit
    bool audit = false;
    double probability = 0;           ///< of the audit
    double wrong = 1;                 ///< estimated
    std::optional<std::size_t> rate;  ///< at which those that it takes are audited; none: nothing is served now
  };

  Choice choose(const Evidence& evidence) const;
  void fill(const Evidence& evidence, const Choice& choice, Decision& decision) const;
  std::optional<std::size_t> audit_rate() const;
  double limit() const;
  bool affordable(double wrong) const;
  double denominator(std::uint64_t more) const;
  void use_up();
  void work_off();
  void apply(const Pending& pending);

  std::shared_ptr<const EvidenceModel> model_;
  VerifiedPolicyOptions options_;
  double slack_;
  Account account_;
  Levels levels_;
  Entries entries_;
  LocalRates local_;
  std::vector<double> first_;  // probabilities by the model, until there are enough for `local_`
  double saved_ = 0;           // wrong hits that the hits of the past have left over, as estimated
  Alarm reports_;
  std::deque<Pending> pending_;
  std::uint64_t first_pending_ = 1;  // name of pending_.front()
  std::uint64_t requests_ = 0, hits_ = 0, audits_ = 0, audits_wrong_ = 0, explored_ = 0, renewals_ = 0, closings_ = 0;
};

}  // namespace promptcache::verified
