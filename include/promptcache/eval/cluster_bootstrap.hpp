#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "promptcache/eval/roc.hpp"

namespace promptcache {

/// Resampling by question cluster. Pairs that share a question, directly or over others, are not independent, so whole
/// clusters (`components_of`, pairs/split.hpp) are drawn with replacement, as many as there are. With clusters of one
/// pair each this is the plain bootstrap. Every function here is deterministic, whatever the number of threads, and
/// takes O(resamples * pairs) after one sort. All throw `Error`: usage for unequal lengths, numeric for values that are
/// not finite.
struct BootstrapOptions {
  std::size_t resamples = 1000;
  std::uint64_t seed = 1;
  std::size_t threads = 1;
  std::size_t band_points = 0;  ///< points of each `CurveBand`; 0: no bands
};

/// How pairs are spread over clusters. When the largest one holds most pairs, resampling says little.
struct ClusterSizes {
  std::size_t clusters = 0;
  std::size_t largest = 0;  ///< pairs in the largest one
};

ClusterSizes cluster_sizes(std::span<const std::size_t> clusters);

/// Pointwise 95 % limits of a curve at the places `at`.
struct CurveBand {
  std::vector<double> at, low, high;
};

/// 95 % percentile intervals; empty where a measure is undefined in more than a tenth of the resamples (a class so
/// small that it is often left out) or there are fewer than two clusters.
struct RankingIntervals {
  std::optional<IntervalEstimate> auc, average_precision;
  CurveBand roc;        ///< share of positives served at the shares of negatives served in `at`
  CurveBand precision;  ///< precision at the recalls in `at`
};

/// AUC and average precision. Where the AUC is exactly 0 or 1 every resample agrees; its far end is then the exact
/// binomial bound with the clusters that hold the rarer class as trials.
RankingIntervals bootstrap_ranking(std::span<const double> scores, std::span<const std::uint8_t> positive,
                                   std::span<const std::size_t> clusters, const BootstrapOptions& options = {});

/// AUC of `first` minus that of `second` on the same resamples, with a two-sided p-value read off them, which cannot be
/// below 2 / (resamples + 1).
std::optional<AucDifference> bootstrap_auc_difference(std::span<const double> first, std::span<const double> second,
                                                      std::span<const std::uint8_t> positive,
                                                      std::span<const std::size_t> clusters,
                                                      const BootstrapOptions& options = {});

/// Calibration of probabilities against (soft) labels, with 95 % intervals.
struct CalibrationIntervals {
  /// Value: the binned ECE of the sample, which noise alone makes larger than 0. The interval is that of the true one
  /// and allows for this: it holds the multiples of the observed gaps of the bins that, with the resampled noise of
  /// the gaps, would have given such an ECE in at least 2.5 % of the cases on either side. Its high end is never below
  /// the value.
  IntervalEstimate ece;
  IntervalEstimate brier;   ///< percentiles
  double p_calibrated = 1;  ///< share of resamples in which noise alone gives an ECE as large, all true gaps being 0
};

/// ECE (`bins` bins of equal mass, as `calibration_bins`) and Brier score. Empty with fewer than two clusters.
std::optional<CalibrationIntervals> bootstrap_calibration(std::span<const double> probabilities,
                                                          std::span<const double> labels,
                                                          std::span<const std::size_t> clusters, std::size_t bins = 15,
                                                          const BootstrapOptions& options = {});

/// The ECE that a perfectly calibrated model with these probabilities would show on as many independent pairs with hard
/// labels: labels are drawn from the probabilities. What a sample of this size cannot distinguish from perfect.
struct CalibratedEce {
  double mean = 0;
  double quantile_95 = 0;
};

/// Simulates it with `options.resamples` draws of all labels. Throws `Error(usage)` without probabilities.
CalibratedEce simulate_calibrated_ece(std::span<const double> probabilities, std::size_t bins = 15,
                                      const BootstrapOptions& options = {});

}  // namespace promptcache
