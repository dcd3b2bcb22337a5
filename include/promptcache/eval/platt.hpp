#pragma once

#include <optional>
#include <span>

namespace promptcache {

/// The head of arXiv 2402.01173: P(one response serves both) = sigma(similarity / lambda - offset).
struct Calibration {
  double lambda = 1;
  double offset = 0;

  double probability(double similarity) const;

  /// Similarity at which the probability is `p`, for p in (0, 1).
  double similarity_at(double p) const;
};

/// Platt scaling: the maximum-likelihood `lambda` and `offset` for similarities and labels in [0, 1], by Newton's
/// method in double. Hard labels are smoothed as Platt (1999) proposes, so separable data has a finite answer.
/// Throws `Error`: usage for no pairs, unequal lengths, one class only, or similarities that do not rise with the
/// label (no positive lambda exists); numeric for values that are not finite.
Calibration fit_platt(std::span<const double> similarities, std::span<const double> labels);

/// As `fit_platt`, but empty where the similarities do not rise with the label.
std::optional<Calibration> try_fit_platt(std::span<const double> similarities, std::span<const double> labels);

}  // namespace promptcache
