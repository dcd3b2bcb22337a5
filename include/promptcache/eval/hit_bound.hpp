#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace promptcache {

/// One-sided upper bound, of this confidence, of the probability of an event that was seen `events` times in `trials`
/// independent trials (Clopper and Pearson 1934). 1 without trials. Throws `Error(usage)` for more events than trials
/// or a confidence outside (0, 1).
double binomial_upper_bound(std::size_t events, std::size_t trials, double confidence);

/// Fewest trials in which an event that is never seen has `binomial_upper_bound` at most `target`: 149 for 2 % at 95 %.
std::size_t fewest_trials(double target, double confidence);

/// One pair of each cluster (`components_of`, pairs/split.hpp), the same for the same seed, chosen without regard to
/// score or label; positions, ascending.
std::vector<std::size_t> one_of_each_cluster(std::span<const std::size_t> clusters, std::uint64_t seed);

/// What a threshold would have served, and what that says about the rate of wrong hits among hits.
struct HitBound {
  double threshold = 0;  ///< served are scores strictly above it
  std::size_t hits = 0;
  std::size_t wrong = 0;
  double upper_bound = 1;  ///< of the rate of wrong hits
};

struct HitBoundOptions {
  double target = 0.02;      ///< largest rate of wrong hits to be accepted
  double confidence = 0.95;  ///< of each bound, and of the chosen threshold's
  double growth = 1.1;       ///< hits of one threshold over those of the one before
  /// Hits of the strictest threshold, when that is more than the fewest without an error that prove the target. With
  /// the fewest, one wrong pair among the most similar ends the sequence at once; more forgive some (236 one, 386 three
  /// for 2 % at 95 %). To be set before looking at labels.
  std::size_t first_hits = 0;
};

/// Thresholds tested in a fixed sequence, and the loosest that passed.
struct ThresholdChoice {
  std::size_t pairs = 0;           ///< independent ones that were looked at
  std::size_t positives = 0;       ///< among them
  std::vector<HitBound> tested;    ///< from the strictest on; all but the last passed, or all
  std::vector<HitBound> untested;  ///< looser ones behind one that failed; each bound holds for its threshold alone
  std::optional<HitBound> chosen;  ///< the last that passed; none when the first did not, or there are too few pairs
};

/// The loosest threshold whose rate of wrong hits is at most `target` with this confidence. The thresholds are fixed by
/// the scores alone: the first has as many hits as are needed for no error to be proof, or `first_hits`, each further
/// one `growth` times as many; they are tested from the strictest on until one fails. Testing a fixed sequence costs no
/// confidence (Maurer et al. 1995). Valid for independent pairs, that is, one of each cluster, drawn as those that will
/// be served. `positive[i]` is nonzero where a hit would be right. Throws `Error`: usage (lengths, options), numeric
/// (scores).
ThresholdChoice choose_threshold(std::span<const double> scores, std::span<const std::uint8_t> positive,
                                 const HitBoundOptions& options = {});

/// `choose_threshold` on one pair of each cluster, so that each cluster counts once however many pairs it has.
ThresholdChoice choose_threshold_by_cluster(std::span<const double> scores, std::span<const std::uint8_t> positive,
                                            std::span<const std::size_t> clusters, const HitBoundOptions& options = {},
                                            std::uint64_t seed = 1);

/// What serving above `threshold` would have done to one pair of each cluster. The bound holds for a threshold that was
/// fixed without looking at these pairs.
HitBound judge_threshold_by_cluster(double threshold, std::span<const double> scores,
                                    std::span<const std::uint8_t> positive, std::span<const std::size_t> clusters,
                                    double confidence, std::uint64_t seed = 1);

}  // namespace promptcache
