#include "promptcache/eval/hit_bound.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

void check_share(const char* name, double value) {
  if (value > 0 && value < 1) return;
  throw Error(ErrorCode::usage, {name}, std::to_string(value), "a number between 0 and 1");
}

/// P(X <= events) of a binomial, with at most `events` + 1 terms.
double lower_tail(std::size_t events, std::size_t trials, double p) {
  const auto n = static_cast<double>(trials);
  double sum = 0;
  for (std::size_t i = 0; i <= events; ++i) {
    const auto k = static_cast<double>(i);
    const double choices = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
    sum += std::exp(choices + k * std::log(p) + (n - k) * std::log1p(-p));
  }
  return sum;
}

std::uint64_t mixed(std::uint64_t x) {  // SplitMix64
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
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
  return static_cast<std::size_t>(std::ceil(std::log(1 - confidence) / std::log1p(-target)));
}

std::vector<std::size_t> question_clusters(std::span<const std::string> q1, std::span<const std::string> q2) {
  if (q1.size() != q2.size()) {
    throw Error(ErrorCode::usage, {"question_clusters"},
                std::to_string(q1.size()) + " and " + std::to_string(q2.size()) + " questions", "as many of each");
  }
  std::unordered_map<std::string_view, std::size_t> first_pair;
  std::vector<std::size_t> parent(q1.size());
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  const auto root = [&](std::size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (std::size_t i = 0; i < q1.size(); ++i) {
    for (const std::string_view question : {std::string_view(q1[i]), std::string_view(q2[i])}) {
      const std::size_t a = root(first_pair.emplace(question, i).first->second);
      const std::size_t b = root(i);
      parent[std::max(a, b)] = std::min(a, b);
    }
  }
  std::vector<std::size_t> clusters(q1.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < q1.size(); ++i) clusters[i] = root(i) == i ? count++ : clusters[root(i)];
  return clusters;
}

std::vector<std::size_t> one_of_each_cluster(std::span<const std::size_t> clusters, std::uint64_t seed) {
  std::unordered_map<std::size_t, std::size_t> chosen;
  for (std::size_t i = 0; i < clusters.size(); ++i) {
    std::size_t& best = chosen.emplace(clusters[i], i).first->second;
    if (mixed(seed ^ mixed(i)) < mixed(seed ^ mixed(best))) best = i;
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
  std::size_t wrong = 0;
  std::size_t hits = 0;
  double wanted = static_cast<double>(fewest_trials(options.target, options.confidence));
  while (wanted <= static_cast<double>(scores.size())) {
    const auto least = static_cast<std::size_t>(std::ceil(wanted));
    // Equal scores are served together or not at all.
    while (hits < order.size() && (hits < least || scores[order[hits]] == scores[order[hits - 1]])) {
      wrong += positive[order[hits++]] == 0 ? 1 : 0;
    }
    const double last = scores[order[hits - 1]];
    const double threshold = hits < order.size() ? (last + scores[order[hits]]) / 2 : std::nextafter(last, -HUGE_VAL);
    choice.tested.push_back({threshold, hits, wrong, binomial_upper_bound(wrong, hits, options.confidence)});
    if (choice.tested.back().upper_bound > options.target) break;
    choice.chosen = choice.tested.back();
    wanted = static_cast<double>(hits) * options.growth;
  }
  return choice;
}

}  // namespace promptcache
