#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "promptcache/eval/platt.hpp"
#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// What a `CalibratedPolicy` aims at: exactly one of the two.
struct CalibratedPolicyOptions {
  /// Share of wrong ones among the hits that is accepted, in (0, 1).
  std::optional<double> target_wrong_hits = {};
  /// What a wrong hit costs, in costs of computing a response: serving pays when P > cost / (1 + cost). Above 0.
  std::optional<double> wrong_hit_cost = {};
};

/// The probability from which on serving one response is worth it. Throws `Error(usage)` for options out of range, for
/// both or none.
double least_probability(const CalibratedPolicyOptions& options);

/// Serves by the estimated probability that one response serves both prompts, P = sigma(s / lambda - c) (arXiv
/// 2402.01173). All of this is a point estimate for prompts like the calibration pairs and guarantees nothing:
/// `Decision.bound` stays empty. Only a threshold that pc-calibrate verified brings a bound (see `open`).
///
///     auto policy = CalibratedPolicy::fit(similarities, labels, {.target_wrong_hits = 0.02});
class CalibratedPolicy : public CachePolicy {
 public:
  /// Without calibration pairs at hand, `target_wrong_hits` is held by each hit on its own, P >= 1 - target, and so by
  /// their mean; the mean alone would allow more hits. Throws `Error(usage)` for options out of range, for both or
  /// none.
  CalibratedPolicy(const Calibration& calibration, const CalibratedPolicyOptions& options);

  /// lambda and c from a model directory's promptcache.json, as pc-train and pc-calibrate write it. When the file has a
  /// threshold that was verified for a target of at most `target_wrong_hits`, that threshold is taken, and
  /// `Decision.bound` is its upper bound, which holds with the confidence asked of pc-calibrate for prompts drawn as
  /// its pairs were and similarities in its precision. Throws `Error`: what `ModelDirectory::open` throws; not_found
  /// when the file has no lambda and c.
  static std::shared_ptr<CalibratedPolicy> open(const std::string& model_directory,
                                                const CalibratedPolicyOptions& options);

  /// Fits lambda and c to calibration pairs (Platt). With `target_wrong_hits` the threshold is the lowest one above
  /// which at most this share of the pairs is negative; none may exist, and then nothing is ever served. A threshold
  /// found on few pairs flatters itself: the fewer hits lie above it, the more. Throws what `fit_platt` throws.
  static std::shared_ptr<CalibratedPolicy> fit(std::span<const double> similarities, std::span<const double> labels,
                                               const CalibratedPolicyOptions& options);

  /// With a threshold found elsewhere (infinity: nothing is ever served), and the bound proven for it, if one is.
  static std::shared_ptr<CalibratedPolicy> with_threshold(const Calibration& calibration, double threshold,
                                                          std::optional<double> bound = {});

  Decision decide(const Evidence& evidence) const override;
  std::string describe() const override;
  std::string parameters() const override;

  const Calibration& calibration() const noexcept { return calibration_; }
  double threshold() const noexcept { return threshold_; }  ///< infinity when nothing is ever served

 private:
  CalibratedPolicy(const Calibration& calibration, const CalibratedPolicyOptions& options, double threshold);

  Calibration calibration_;
  CalibratedPolicyOptions options_;
  double threshold_;
  std::optional<double> bound_ = {};  // of the rate of wrong hits
};

}  // namespace promptcache
