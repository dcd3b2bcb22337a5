#include "promptcache/eval/classification.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace promptcache {

std::vector<CurvePoint> precision_recall_curve(std::span<const double> scores, std::span<const std::uint8_t> positive) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  const auto positives =
      static_cast<double>(std::count_if(positive.begin(), positive.end(), [](std::uint8_t flag) { return flag != 0; }));
  std::vector<CurvePoint> curve;
  if (positives == 0) return curve;
  CurvePoint point;
  for (std::size_t i = 0; i < order.size(); ++i) {
    ++point.hits;
    if (positive[order[i]] != 0) ++point.true_hits;
    const double score = scores[order[i]];
    const bool last = i + 1 == order.size();
    if (!last && scores[order[i + 1]] == score) continue;
    point.threshold = last ? std::nextafter(score, -std::numeric_limits<double>::infinity())
                           : score + (scores[order[i + 1]] - score) / 2;
    point.precision = static_cast<double>(point.true_hits) / static_cast<double>(point.hits);
    point.recall = static_cast<double>(point.true_hits) / positives;
    curve.push_back(point);
  }
  return curve;
}

double average_precision(const std::vector<CurvePoint>& curve) {
  if (curve.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  double recall = 0;
  for (const CurvePoint& point : curve) {
    sum += (point.recall - recall) * point.precision;
    recall = point.recall;
  }
  return sum;
}

double recall_at_precision(const std::vector<CurvePoint>& curve, double precision) {
  if (curve.empty()) return std::numeric_limits<double>::quiet_NaN();
  double best = 0;
  for (const CurvePoint& point : curve) {
    if (point.precision >= precision) best = std::max(best, point.recall);
  }
  return best;
}

std::vector<CalibrationBin> calibration_bins(std::span<const double> probabilities, std::span<const double> labels,
                                             std::size_t bins) {
  std::vector<std::pair<double, double>> sorted;
  for (std::size_t i = 0; i < labels.size(); ++i) sorted.emplace_back(probabilities[i], labels[i]);
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  bins = std::min(bins, n);
  std::vector<CalibrationBin> result;
  for (std::size_t b = 0; b < bins; ++b) {
    CalibrationBin bin;
    for (std::size_t i = b * n / bins; i < (b + 1) * n / bins; ++i) {
      ++bin.count;
      bin.mean_probability += sorted[i].first;
      bin.mean_label += sorted[i].second;
    }
    bin.mean_probability /= static_cast<double>(bin.count);
    bin.mean_label /= static_cast<double>(bin.count);
    result.push_back(bin);
  }
  return result;
}

double expected_calibration_error(const std::vector<CalibrationBin>& bins) {
  double sum = 0;
  double count = 0;
  for (const CalibrationBin& bin : bins) {
    sum += static_cast<double>(bin.count) * std::abs(bin.mean_probability - bin.mean_label);
    count += static_cast<double>(bin.count);
  }
  return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
}

double brier_score(std::span<const double> probabilities, std::span<const double> labels) {
  double sum = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    sum += (probabilities[i] - labels[i]) * (probabilities[i] - labels[i]);
  }
  return labels.empty() ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(labels.size());
}

}  // namespace promptcache
