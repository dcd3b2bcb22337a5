#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "promptcache/eval/roc.hpp"

namespace promptcache {

/// The outcome of one training on `pairs` labelled pairs: an error, such as 1 - AUC on a fixed test set.
struct LearningPoint {
  double pairs = 0;
  double error = 0;
};

/// error(n) = a + b n^-g fitted to points, with what is known about its precision. A value type.
///
///     const LearningCurve curve = fit_learning_curve(points);
///     if (curve.informative) use(curve.forecast(2 * curve.largest));
struct LearningCurve {
  /// Values with 95 % limits from refits to points with fresh noise; without limits (both NaN) when the noise is
  /// unknown. a, b >= 0.
  IntervalEstimate a, b, g;
  std::size_t points = 0;
  std::size_t sizes = 0;     ///< distinct numbers of pairs
  double largest = 0;        ///< of them
  double noise = 0;          ///< standard deviation of a point about the curve; NaN when unknown
  double p_flat = 1;         ///< how often noise about a flat line looks this much like a falling curve
  bool informative = false;  ///< the error falls beyond doubt (p_flat <= 0.05), so a forecast means something
  std::string reason;        ///< why not, one sentence; empty when informative

  /// Error at n pairs by the fit.
  double at(double pairs) const;

  /// `at` with the 2.5 % and 97.5 % quantiles over the refits: of the curve, not of one further training, and taking
  /// for granted that a power law goes on. Limits are NaN when the noise is unknown.
  IntervalEstimate forecast(double pairs) const;

  std::vector<std::array<double, 3>> refits;  ///< (a, b, g) of each
};

/// Least squares over all points (several seeds of one size are several points), a and b not negative, g in [0.05, 2].
/// The noise is the larger of the spread within sizes and that about the curve. Deterministic. Cost: some ms a hundred
/// points. Throws `Error`: usage without points, numeric for a number of pairs that is not above 0 or an error that is
/// not finite.
LearningCurve fit_learning_curve(std::span<const LearningPoint> points, std::uint64_t seed = 1);

/// Reads a TSV file with at least the columns `pairs` and `auc`, several rows a size allowed; errors are 1 - auc.
/// Throws `Error` with file and line.
std::vector<LearningPoint> read_learning_points(const std::string& path);

}  // namespace promptcache
