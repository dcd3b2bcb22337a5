#pragma once

#include <string>

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

}  // namespace promptcache
