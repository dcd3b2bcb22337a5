#include "promptcache/eval/calibrate.hpp"

#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "eval/resampling.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/eval/roc.hpp"

namespace promptcache {

std::array<std::vector<std::size_t>, 2> halves_by_cluster(std::span<const std::size_t> clusters, std::uint64_t seed) {
  std::size_t count = 0;
  const std::vector<std::uint32_t> numbers = dense_numbers(clusters, count);
  std::vector<std::size_t> sizes(count);
  for (const std::uint32_t cluster : numbers) ++sizes[cluster];
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  RandomStream random(seed, 0);
  for (std::size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  // Large ones first, so that the rest can even the sides out.
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return sizes[a] > sizes[b]; });
  std::array<std::size_t, 2> filled{};
  std::vector<std::uint8_t> side(count);
  for (const std::uint32_t cluster : order) {
    side[cluster] = filled[1] < filled[0] ? 1 : 0;
    filled[side[cluster]] += sizes[cluster];
  }
  std::array<std::vector<std::size_t>, 2> result;
  for (std::size_t pair = 0; pair < numbers.size(); ++pair) result[side[numbers[pair]]].push_back(pair);
  return result;
}

CalibrationResult calibrate(std::span<const double> similarities, std::span<const double> labels,
                            std::span<const std::size_t> clusters, const HitBoundOptions& options, std::uint64_t seed) {
  if (similarities.size() != labels.size() || clusters.size() != labels.size() || labels.empty()) {
    throw Error(ErrorCode::usage, {"calibration pairs"},
                std::to_string(similarities.size()) + " similarities, " + std::to_string(labels.size()) + " labels, " +
                    std::to_string(clusters.size()) + " clusters",
                "as many of each, at least one");
  }
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (std::isfinite(similarities[i]) && labels[i] >= 0 && labels[i] <= 1) continue;
    throw Error(ErrorCode::numeric, {"calibration pairs", i + 1},
                "similarity " + std::to_string(similarities[i]) + " with label " + std::to_string(labels[i]),
                "a finite similarity and a label in [0, 1]");
  }
  const auto [fit, test] = halves_by_cluster(clusters, seed);
  CalibrationResult result;
  result.pairs = labels.size();
  dense_numbers(clusters, result.clusters);
  result.fit_pairs = fit.size();

  const std::vector<double> fit_similarities = picked(similarities, fit), fit_labels = picked(labels, fit);
  try {
    result.head = fit_platt(fit_similarities, fit_labels);
    // Every sample has a slope; one that chance explains would be written down as knowledge.
    const std::optional<IntervalEstimate> auc = roc_auc_interval(fit_similarities, positives(fit_labels));
    if (!auc || auc->low <= 0.5) {
      result.head.reset();
      result.no_head = "the similarities do not rise with the label beyond doubt: ";
      result.no_head += auc ? "AUC " + std::to_string(auc->value) + ", 95 % interval from " + std::to_string(auc->low)
                            : "fewer than two pairs of a class";
    }
  } catch (const Error& error) {
    result.no_head = error.what();
  }

  result.thresholds = choose_threshold_by_cluster(picked(similarities, test), positives(picked(labels, test)),
                                                  picked(clusters, test), options, seed);
  return result;
}

}  // namespace promptcache
