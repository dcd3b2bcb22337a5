#include "promptcache/eval/hit_bound.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <unordered_map>

#include "eval/resampling.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

void check_share(const char* name, double value) {
  if (value > 0 && value < 1) return;
  throw Error(ErrorCode::usage, {name}, std::to_string(value), "a number between 0 and 1");
}

/// P(X <= events) of a binomial with p above events / trials, where the terms fall from the last one on.
double lower_tail(std::size_t events, std::size_t trials, double p) {
  const auto n = static_cast<double>(trials);
  auto k = static_cast<double>(events);
  const double choices = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
  double term = std::exp(choices + k * std::log(p) + (n - k) * std::log1p(-p));
  double sum = term;
  for (; k > 0 && term > 1e-17 * sum; --k) {
    term *= k / (n - k + 1) * (1 - p) / p;
    sum += term;
  }
  return sum;
}

/// One pair of each cluster.
struct ClusterSample {
  std::vector<double> scores;
  std::vector<std::uint8_t> positive;
};

ClusterSample sample_of(std::span<const double> scores, std::span<const std::uint8_t> positive,
                        std::span<const std::size_t> clusters, std::uint64_t seed) {
  if (scores.size() != positive.size() || scores.size() != clusters.size()) {
    throw Error(ErrorCode::usage, {"thresholds by cluster"},
                std::to_string(scores.size()) + " scores, " + std::to_string(positive.size()) + " labels, " +
                    std::to_string(clusters.size()) + " clusters",
                "as many of each");
  }
  ClusterSample sample;
  for (const std::size_t pair : one_of_each_cluster(clusters, seed)) {
    sample.scores.push_back(scores[pair]);
    sample.positive.push_back(positive[pair]);
  }
  return sample;
}

}  // namespace

double binomial_upper_bound(std::size_t events, std::size_t trials, double confidence) {
  check_share("confidence", confidence);
  if (events > trials) {
    throw Error(ErrorCode::usage, {"binomial_upper_bound"}, std::to_string(events) + " events",
                "no more than the " + std::to_string(trials) + " trials");
  }
  if (events == trials) return 1;
  double low = static_cast<double>(events) / static_cast<double>(trials);
  double high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (lower_tail(events, trials, middle) > 1 - confidence ? low : high) = middle;
  }
  return high;
}

std::size_t fewest_trials(double target, double confidence) {
  check_share("target", target);
  check_share("confidence", confidence);
  const double trials = std::ceil(std::log(1 - confidence) / std::log1p(-target));
  return static_cast<std::size_t>(std::min(trials, 1e18));  // nobody has as many
}

std::vector<std::size_t> one_of_each_cluster(std::span<const std::size_t> clusters, std::uint64_t seed) {
  std::unordered_map<std::size_t, std::size_t> chosen;
  for (std::size_t i = 0; i < clusters.size(); ++i) {
    std::size_t& best = chosen.emplace(clusters[i], i).first->second;
    if (base::scattered(seed ^ base::scattered(i)) < base::scattered(seed ^ base::scattered(best))) best = i;
  }
  std::vector<std::size_t> result;
  for (const auto& [cluster, pair] : chosen) result.push_back(pair);
  std::sort(result.begin(), result.end());
  return result;
}

ThresholdChoice choose_threshold(std::span<const double> scores, std::span<const std::uint8_t> positive,
                                 const HitBoundOptions& options) {
  if (scores.size() != positive.size()) {
    throw Error(ErrorCode::usage, {"choose_threshold"},
                std::to_string(scores.size()) + " scores, " + std::to_string(positive.size()) + " labels",
                "as many of each");
  }
  if (!(options.growth > 1)) {
    throw Error(ErrorCode::usage, {"growth"}, std::to_string(options.growth), "a number above 1");
  }
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (const double score : scores) {
    if (!std::isfinite(score)) throw Error(ErrorCode::numeric, {"score"}, std::to_string(score), "a finite number");
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });

  ThresholdChoice choice;
  choice.pairs = scores.size();
  choice.positives = static_cast<std::size_t>(
      std::count_if(positive.begin(), positive.end(), [](std::uint8_t flag) { return flag != 0; }));
  std::size_t wrong = 0;
  std::size_t hits = 0;
  bool failed = false;
  const std::size_t fewest = fewest_trials(options.target, options.confidence);
  double wanted = static_cast<double>(std::max(fewest, options.first_hits));
  while (wanted <= static_cast<double>(scores.size())) {
    const auto least = static_cast<std::size_t>(std::ceil(wanted));
    // Equal scores are served together or not at all.
    while (hits < order.size() && (hits < least || scores[order[hits]] == scores[order[hits - 1]])) {
      wrong += positive[order[hits++]] == 0 ? 1 : 0;
    }
    const double last = scores[order[hits - 1]];
    const double threshold = hits < order.size() ? (last + scores[order[hits]]) / 2 : std::nextafter(last, -HUGE_VAL);
    const HitBound found{threshold, hits, wrong, binomial_upper_bound(wrong, hits, options.confidence)};
    (failed ? choice.untested : choice.tested).push_back(found);
    failed = failed || found.upper_bound > options.target;
    if (!failed) choice.chosen = found;
    wanted = static_cast<double>(hits) * options.growth;
  }
  return choice;
}

ThresholdChoice choose_threshold_by_cluster(std::span<const double> scores, std::span<const std::uint8_t> positive,
                                            std::span<const std::size_t> clusters, const HitBoundOptions& options,
                                            std::uint64_t seed) {
  const ClusterSample sample = sample_of(scores, positive, clusters, seed);
  return choose_threshold(sample.scores, sample.positive, options);
}

HitBound judge_threshold_by_cluster(double threshold, std::span<const double> scores,
                                    std::span<const std::uint8_t> positive, std::span<const std::size_t> clusters,
                                    double confidence, std::uint64_t seed) {
  const ClusterSample sample = sample_of(scores, positive, clusters, seed);
  HitBound result{threshold, 0, 0, 1};
  for (std::size_t i = 0; i < sample.scores.size(); ++i) {
    if (!(sample.scores[i] > threshold)) continue;
    ++result.hits;
    result.wrong += sample.positive[i] == 0 ? 1 : 0;
  }
  result.upper_bound = binomial_upper_bound(result.wrong, result.hits, confidence);
  return result;
}

}  // namespace promptcache
