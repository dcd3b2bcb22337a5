#include "promptcache/eval/roc.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr double z95 = 1.959963984540054;  // 97.5 % quantile of the normal distribution

void check(std::span<const double> scores, std::span<const std::uint8_t> positive) {
  if (scores.size() != positive.size()) {
    throw Error(ErrorCode::usage, {"scores"}, std::to_string(scores.size()) + " values",
                std::to_string(positive.size()) + ", one a label");
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!std::isfinite(scores[i])) {
      throw Error(ErrorCode::numeric, {"score of pair " + std::to_string(i + 1)}, std::to_string(scores[i]),
                  "a finite number");
    }
  }
}

/// Ranks 1..n with ties at their mean, in input order.
std::vector<double> mid_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double mean = 0.5 * static_cast<double>(begin + 1 + end);
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = mean;
    begin = end;
  }
  return ranks;
}

/// DeLong's structural components: for each positive (negative) the share of negatives (positives) ordered rightly.
struct Components {
  double auc = 0;
  std::vector<double> of_positives;
  std::vector<double> of_negatives;
};

Components components(std::span<const double> scores, std::span<const std::uint8_t> positive) {
  std::vector<double> pos;
  std::vector<double> neg;
  for (std::size_t i = 0; i < scores.size(); ++i) (positive[i] != 0 ? pos : neg).push_back(scores[i]);
  const std::vector<double> all_ranks = mid_ranks(scores);
  const std::vector<double> pos_ranks = mid_ranks(pos);
  const std::vector<double> neg_ranks = mid_ranks(neg);
  const double m = static_cast<double>(pos.size());
  const double n = static_cast<double>(neg.size());
  Components result;
  result.of_positives.reserve(pos.size());
  result.of_negatives.reserve(neg.size());
  for (std::size_t i = 0, p = 0, q = 0; i < scores.size(); ++i) {
    if (positive[i] != 0) {
      result.of_positives.push_back((all_ranks[i] - pos_ranks[p++]) / n);
    } else {
      result.of_negatives.push_back(1 - (all_ranks[i] - neg_ranks[q++]) / m);
    }
  }
  result.auc = std::accumulate(result.of_positives.begin(), result.of_positives.end(), 0.0) / m;
  return result;
}

double covariance(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - mean_a) * (b[i] - mean_b);
  return sum / (n - 1);
}

bool defined(std::span<const std::uint8_t> positive) {
  const auto positives = static_cast<std::size_t>(
      std::count_if(positive.begin(), positive.end(), [](std::uint8_t flag) { return flag != 0; }));
  return positives >= 2 && positive.size() - positives >= 2;
}

}  // namespace

double roc_auc(std::span<const double> scores, std::span<const std::uint8_t> positive) {
  check(scores, positive);
  const std::vector<double> ranks = mid_ranks(scores);
  double positives = 0;
  double rank_sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (positive[i] == 0) continue;
    positives += 1;
    rank_sum += ranks[i];
  }
  const double negatives = static_cast<double>(scores.size()) - positives;
  if (positives == 0 || negatives == 0) return std::numeric_limits<double>::quiet_NaN();
  return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives);
}

std::optional<IntervalEstimate> roc_auc_interval(std::span<const double> scores,
                                                 std::span<const std::uint8_t> positive) {
  check(scores, positive);
  if (!defined(positive)) return std::nullopt;
  const Components parts = components(scores, positive);
  const double m = static_cast<double>(parts.of_positives.size());
  const double n = static_cast<double>(parts.of_negatives.size());
  const double variance =
      covariance(parts.of_positives, parts.of_positives) / m + covariance(parts.of_negatives, parts.of_negatives) / n;
  IntervalEstimate result{parts.auc, parts.auc, parts.auc};
  if (parts.auc <= 0 || parts.auc >= 1) {
    const double reach = std::pow(0.025, 1 / std::min(m, n));
    (parts.auc >= 1 ? result.low : result.high) = parts.auc >= 1 ? reach : 1 - reach;
    return result;
  }
  const double logit = std::log(parts.auc / (1 - parts.auc));
  const double half = z95 * std::sqrt(variance) / (parts.auc * (1 - parts.auc));
  result.low = 1 / (1 + std::exp(-(logit - half)));
  result.high = 1 / (1 + std::exp(-(logit + half)));
  return result;
}

std::optional<AucDifference> roc_auc_difference(std::span<const double> first, std::span<const double> second,
                                                std::span<const std::uint8_t> positive) {
  check(first, positive);
  check(second, positive);
  if (!defined(positive)) return std::nullopt;
  const Components a = components(first, positive);
  const Components b = components(second, positive);
  const auto variance_of = [](const std::vector<double>& x, const std::vector<double>& y) {
    return (covariance(x, x) + covariance(y, y) - 2 * covariance(x, y)) / static_cast<double>(x.size());
  };
  const double deviation = std::sqrt(
      std::max(0.0, variance_of(a.of_positives, b.of_positives) + variance_of(a.of_negatives, b.of_negatives)));
  AucDifference result;
  const double value = a.auc - b.auc;
  result.auc = {value, value - z95 * deviation, value + z95 * deviation};
  if (deviation > 0) {
    result.p_value = std::erfc(std::abs(value) / deviation / std::sqrt(2.0));
  } else {
    result.p_value = value == 0 ? 1.0 : 0.0;
  }
  return result;
}

}  // namespace promptcache
