#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "promptcache/embed/embedder.hpp"
#include "promptcache/embed/pair_scorer.hpp"
#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/evidence_model.hpp"
#include "promptcache/policy/guards.hpp"

namespace promptcache {

/// From which probability on a stage of a cascade serves.
struct CascadeStage {
  double threshold = std::numeric_limits<double>::infinity();  ///< served are probabilities strictly above it
  std::optional<double> bound = {};  ///< proven upper bound of the rate of wrong hits; empty where nothing is proven
};

/// Serves by P(same answer) from all evidence: the first stage looks at what is cheap, the second at a pair scorer's
/// logit too. The cache asks the scorer only where `wants_pair_logit` says so, and while there is time; without its
/// logit the first stage decides, whose threshold is stricter.
///
///     auto policy = CascadePolicy::open("models/tuned", *embedder, scorer.get(), {.target_wrong_hits = 0.02});
class CascadePolicy : public CachePolicy {
 public:
  /// Throws `Error`: usage for no model or a bound outside (0, 1]; numeric for a threshold that is NaN.
  CascadePolicy(std::shared_ptr<const EvidenceModel> model, const CascadeStage& first, const CascadeStage& second);

  /// What pc-calibrate wrote into the model directory's promptcache.json. A stage's threshold is the verified one when
  /// there is one for a target of at most `target_wrong_hits`, with its bound; else hits are held to it one by one, P
  /// >= 1 - target, an estimate without a bound. `scorer` may be null: then only the first stage serves. Throws
  /// `Error`: what `ModelDirectory::open` throws; not_found without a calibrated cascade; mismatch when it was
  /// calibrated with another embedder or scorer; usage for options out of range, both or none.
  static std::shared_ptr<CascadePolicy> open(const std::string& model_directory, const Embedder& embedder,
                                             const PairScorer* scorer, const CalibratedPolicyOptions& options);

  Decision decide(const Evidence& evidence) const override;
  bool wants_pair_logit(const Evidence& evidence) const override { return model_->wants_pair_logit(evidence); }
  bool wants_guards() const override { return model_->wants_guards(); }
  std::string describe() const override;
  std::string parameters() const override;

  /// The guards that `open` found it calibrated with, for `CacheOptions::guards`; null: none.
  const std::shared_ptr<const Guards>& guards() const noexcept { return guards_; }

  const EvidenceModel& model() const noexcept { return *model_; }
  const CascadeStage& first() const noexcept { return first_; }
  const CascadeStage& second() const noexcept { return second_; }

 private:
  std::shared_ptr<const EvidenceModel> model_;
  std::shared_ptr<const Guards> guards_;
  CascadeStage first_, second_;
};

}  // namespace promptcache
