#include "promptcache/eval/cluster_bootstrap.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "eval/resampling.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/eval/classification.hpp"

namespace promptcache {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

void check_lengths(std::size_t values, std::size_t labels, std::size_t clusters) {
  if (values == labels && labels == clusters) return;
  throw Error(ErrorCode::usage, {"resampling"},
              std::to_string(values) + " values, " + std::to_string(labels) + " labels and " +
                  std::to_string(clusters) + " clusters",
              "as many of each");
}

/// Pairs by falling score, as the passes over resamples read them.
struct Ranking {
  std::vector<std::uint32_t> cluster;
  std::vector<std::uint8_t> positive;
  std::vector<std::uint8_t> ends_tie;  // the next score is another one

  Ranking(std::span<const double> scores, std::span<const std::uint8_t> labels,
          const std::vector<std::uint32_t>& clusters) {
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    for (std::size_t i = 0; i < order.size(); ++i) {
      cluster.push_back(clusters[order[i]]);
      positive.push_back(labels[order[i]] != 0 ? 1 : 0);
      ends_tie.push_back(i + 1 == order.size() || scores[order[i + 1]] != scores[order[i]] ? 1 : 0);
    }
  }

  /// Weights of both classes in a resample.
  std::array<double, 2> totals(const std::vector<std::uint32_t>& times) const {
    std::array<std::uint64_t, 2> sum{};
    for (std::size_t i = 0; i < cluster.size(); ++i) sum[positive[i]] += times[cluster[i]];
    return {static_cast<double>(sum[0]), static_cast<double>(sum[1])};
  }
};

/// Fills one row of a band; `at` rises.
class BandRow {
 public:
  BandRow(const std::vector<double>& at, double* row) : at_(at), row_(row) {}
  /// The curve goes in a straight line to (x, y).
  void line_to(double x, double y) {
    for (; next_ < at_.size() && at_[next_] <= x; ++next_) {
      row_[next_] = x > x_ ? y_ + (at_[next_] - x_) / (x - x_) * (y - y_) : y;
    }
    x_ = x;
    y_ = y;
  }
  /// The curve has the value y from where it was up to x.
  void step_to(double x, double y) {
    for (; next_ < at_.size() && at_[next_] <= x; ++next_) row_[next_] = y;
  }

 private:
  const std::vector<double>& at_;
  double* row_;
  std::size_t next_ = 0;
  double x_ = 0, y_ = 0;
};

struct RankingMeasures {
  double auc = undefined;
  double average_precision = undefined;
};

/// One pass over a resample; the curves are those of the pairs repeated as often as their cluster was drawn.
RankingMeasures measure(const Ranking& ranking, const std::vector<std::uint32_t>& times, BandRow* roc,
                        BandRow* precision) {
  const auto [negatives, positives] = ranking.totals(times);
  if (negatives == 0 || positives == 0) return {};
  std::uint64_t hits[2] = {}, tie[2] = {};
  double pairs_in_order = 0, precision_sum = 0;
  constexpr double rounding = 1e-12;  // the last point is at 1, whatever the division makes of it
  for (std::size_t i = 0; i < ranking.cluster.size(); ++i) {
    tie[ranking.positive[i]] += times[ranking.cluster[i]];
    if (ranking.ends_tie[i] == 0 || tie[0] + tie[1] == 0) continue;
    const auto tied_positives = static_cast<double>(tie[1]);
    pairs_in_order += static_cast<double>(tie[0]) * (static_cast<double>(hits[1]) + tied_positives / 2);
    hits[0] += tie[0];
    hits[1] += tie[1];
    const auto right = static_cast<double>(hits[1]);
    const double share_right = right / static_cast<double>(hits[0] + hits[1]);
    precision_sum += tied_positives * share_right;
    if (roc != nullptr) {
      roc->line_to(static_cast<double>(hits[0]) / negatives + rounding, right / positives);
      precision->step_to(right / positives + rounding, share_right);
    }
    tie[0] = tie[1] = 0;
  }
  return {pairs_in_order / (negatives * positives), precision_sum / positives};
}

/// Limits from resamples of which some may be undefined.
std::optional<IntervalEstimate> percentiles(double value, std::vector<double> resamples) {
  const std::size_t all = resamples.size();
  std::erase_if(resamples, [](double x) { return !std::isfinite(x); });
  if (resamples.empty() || resamples.size() * 10 < all * 9) return std::nullopt;
  std::sort(resamples.begin(), resamples.end());
  return IntervalEstimate{value, quantile(resamples, 0.025), quantile(resamples, 0.975)};
}

CurveBand band(std::vector<double> at, const std::vector<double>& rows, const std::vector<double>& defined) {
  CurveBand result;
  for (std::size_t point = 0; point < at.size(); ++point) {
    std::vector<double> values;
    for (std::size_t row = 0; row < defined.size(); ++row) {
      if (std::isfinite(defined[row])) values.push_back(rows[row * at.size() + point]);
    }
    if (values.empty()) return {};
    std::sort(values.begin(), values.end());
    result.low.push_back(quantile(values, 0.025));
    result.high.push_back(quantile(values, 0.975));
  }
  result.at = std::move(at);
  return result;
}

/// Clusters that hold a pair of this class.
std::size_t clusters_with(std::uint8_t label, const Ranking& ranking, std::size_t clusters) {
  std::vector<std::uint8_t> seen(clusters);
  for (std::size_t i = 0; i < ranking.cluster.size(); ++i) {
    if (ranking.positive[i] == label) seen[ranking.cluster[i]] = 1;
  }
  return static_cast<std::size_t>(std::count(seen.begin(), seen.end(), 1));
}

}  // namespace

ClusterSizes cluster_sizes(std::span<const std::size_t> clusters) {
  ClusterSizes result;
  std::vector<std::size_t> sizes;
  for (const std::uint32_t cluster : dense_numbers(clusters, result.clusters)) {
    sizes.resize(std::max<std::size_t>(sizes.size(), cluster + 1));
    result.largest = std::max(result.largest, ++sizes[cluster]);
  }
  return result;
}

RankingIntervals bootstrap_ranking(std::span<const double> scores, std::span<const std::uint8_t> positive,
                                   std::span<const std::size_t> clusters, const BootstrapOptions& options) {
  check_lengths(scores.size(), positive.size(), clusters.size());
  const double auc = roc_auc(scores, positive);  // checks the scores
  std::size_t count = 0;
  const Ranking ranking(scores, positive, dense_numbers(clusters, count));
  if (count < 2 || !std::isfinite(auc) || options.resamples == 0) return {};
  std::vector<double> at;
  for (std::size_t i = 1; i <= options.band_points; ++i) {
    at.push_back(static_cast<double>(i) / static_cast<double>(options.band_points));
  }
  const std::size_t width = at.size();
  std::vector<double> aucs(options.resamples), precisions(options.resamples);
  std::vector<double> roc_rows(options.resamples * width), precision_rows(options.resamples * width);
  for_each_resample(
      options.resamples, options.threads, [&] { return std::vector<std::uint32_t>(count); },
      [&](std::size_t number, std::vector<std::uint32_t>& times) {
        draw_clusters(options.seed, number, times);
        BandRow roc(at, roc_rows.data() + number * width);
        BandRow precision(at, precision_rows.data() + number * width);
        const RankingMeasures found =
            measure(ranking, times, width > 0 ? &roc : nullptr, width > 0 ? &precision : nullptr);
        aucs[number] = found.auc;
        precisions[number] = found.average_precision;
      });
  RankingIntervals result;
  const RankingMeasures whole = measure(ranking, std::vector<std::uint32_t>(count, 1), nullptr, nullptr);
  result.auc = percentiles(auc, aucs);
  result.average_precision = percentiles(whole.average_precision, precisions);
  if (result.auc && (auc <= 0 || auc >= 1)) {
    const std::size_t rarer = std::min(clusters_with(0, ranking, count), clusters_with(1, ranking, count));
    const double reach = std::pow(0.025, 1 / static_cast<double>(rarer));
    (auc >= 1 ? result.auc->low : result.auc->high) = auc >= 1 ? reach : 1 - reach;
  }
  if (width > 0) {
    result.roc = band(at, roc_rows, aucs);
    result.precision = band(at, precision_rows, aucs);
  }
  return result;
}

std::optional<AucDifference> bootstrap_auc_difference(std::span<const double> first, std::span<const double> second,
                                                      std::span<const std::uint8_t> positive,
                                                      std::span<const std::size_t> clusters,
                                                      const BootstrapOptions& options) {
  check_lengths(first.size(), positive.size(), clusters.size());
  check_lengths(second.size(), positive.size(), clusters.size());
  const double value = roc_auc(first, positive) - roc_auc(second, positive);
  std::size_t count = 0;
  const std::vector<std::uint32_t> numbers = dense_numbers(clusters, count);
  if (count < 2 || !std::isfinite(value) || options.resamples == 0) return std::nullopt;
  const Ranking a(first, positive, numbers);
  const Ranking b(second, positive, numbers);
  std::vector<double> differences(options.resamples);
  for_each_resample(
      options.resamples, options.threads, [&] { return std::vector<std::uint32_t>(count); },
      [&](std::size_t number, std::vector<std::uint32_t>& times) {
        draw_clusters(options.seed, number, times);
        differences[number] = measure(a, times, nullptr, nullptr).auc - measure(b, times, nullptr, nullptr).auc;
      });
  const std::optional<IntervalEstimate> interval = percentiles(value, differences);
  if (!interval) return std::nullopt;
  double below = 1, above = 1, all = 1;  // the sample itself counts as one resample
  for (const double difference : differences) {
    if (!std::isfinite(difference)) continue;
    below += difference <= 0 ? 1 : 0;
    above += difference >= 0 ? 1 : 0;
    all += 1;
  }
  return AucDifference{*interval, std::min(1.0, 2 * std::min(below, above) / all)};
}

}  // namespace promptcache
