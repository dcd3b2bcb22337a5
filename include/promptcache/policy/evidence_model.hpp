#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "promptcache/eval/platt.hpp"
#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// Evidence to an estimate of P(the candidate's response serves this prompt). `const` and safe from many threads.
///
/// A policy with a bound takes it as an order of candidates only: a bad model costs hits, never the bound.
class EvidenceModel {
 public:
  virtual ~EvidenceModel() = default;

  /// In [0, 1]; NaN where the evidence is no number. Well under a microsecond.
  virtual double probability(const Evidence& evidence) const = 0;

  /// Whether a pair scorer is worth asking: its logit is missing, and the model could use it.
  virtual bool wants_pair_logit(const Evidence& evidence) const {
    static_cast<void>(evidence);
    return false;
  }

  /// Whether findings of guards count; evidence without them is then incomplete.
  virtual bool wants_guards() const { return false; }

  /// One line of JSON that says all of it; models with the same line give the same probabilities.
  virtual std::string parameters() const = 0;
};

/// Similarity alone: sigma(s / lambda - c), arXiv 2402.01173.
class PlattEvidence : public EvidenceModel {
 public:
  /// Throws `Error(usage)` for a lambda that is not above 0 or a c that is not finite.
  explicit PlattEvidence(const Calibration& calibration);

  double probability(const Evidence& evidence) const override;
  std::string parameters() const override;

 private:
  Calibration calibration_;
};

/// A model from its `parameters()`. Throws `Error` naming `where`: format for what is no such JSON, unsupported for a
/// kind this library does not have.
std::shared_ptr<const EvidenceModel> make_evidence_model(std::string_view parameters, const std::string& where);

}  // namespace promptcache
