#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace promptcache {

/// One point of the precision/recall curve: what a cache would do that serves when score > `threshold`.
struct CurvePoint {
  double threshold = 0;
  std::size_t hits = 0;       ///< pairs served
  std::size_t true_hits = 0;  ///< positives among them
  double precision = 0;       ///< true_hits / hits
  double recall = 0;          ///< true_hits / positives
};

/// The curve over all distinct scores, from the highest threshold (fewest hits) to the lowest; each threshold lies half
/// way between two neighbouring scores, the last one below all of them. Empty when there is no positive. O(n log n).
std::vector<CurvePoint> precision_recall_curve(std::span<const double> scores, std::span<const std::uint8_t> positive);

/// Average precision: sum over the curve of precision times the recall gained (scikit-learn's definition, ties taken
/// together). NaN when there is no positive.
double average_precision(const std::vector<CurvePoint>& curve);

/// Largest recall among the points whose precision is at least `precision`; 0 when no point has it, NaN without curve.
double recall_at_precision(const std::vector<CurvePoint>& curve, double precision);

/// One bin of a reliability diagram.
struct CalibrationBin {
  std::size_t count = 0;
  double mean_probability = 0;
  double mean_label = 0;
};

/// Bins of equal mass by predicted probability (sizes differ by at most one, fewer bins when there are fewer values).
/// Equal probabilities may be cut by a bin's edge; they are ordered by label then, so the result does not depend on the
/// order of the input.
std::vector<CalibrationBin> calibration_bins(std::span<const double> probabilities, std::span<const double> labels,
                                             std::size_t bins = 15);

/// Expected calibration error: mean over bins, weighted by count, of |mean probability - mean label|.
double expected_calibration_error(const std::vector<CalibrationBin>& bins);

/// Mean squared difference of probability and (soft) label. NaN for no values.
double brier_score(std::span<const double> probabilities, std::span<const double> labels);

}  // namespace promptcache
