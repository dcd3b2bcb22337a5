#pragma once

#include <optional>
#include <span>

#include "promptcache/policy/logistic_evidence.hpp"

namespace promptcache {

struct EvidenceFitOptions {
  /// Weight of the squared standardised weights beside the summed cross entropy: features that hardly ever differ get
  /// none.
  double penalty = 1;
  /// Share of the right candidates that may lie below `LogisticEvidence::least_similarity`, where no pair scorer is
  /// asked.
  double unasked = 0.005;
};

/// Fits a `LogisticEvidence` to labelled evidence by Newton's method: a first stage on all of it without pair logits,
/// and a second one when all of it has one. Features that no evidence tells, or that do not vary, get no weight;
/// missing values count as the mean of the others. Labels lie in [0, 1]. Throws `Error`: usage for unequal lengths,
/// labels of one class, options out of range, or pair logits of some only; numeric for values that are not finite.
LogisticEvidence fit_evidence(std::span<const Evidence> evidence, std::span<const double> labels,
                              const EvidenceFitOptions& options = {});

}  // namespace promptcache
