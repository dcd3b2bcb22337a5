#include "promptcache/eval/stream.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <unordered_set>

#include "promptcache/base/error.hpp"

namespace promptcache {

std::size_t StreamPrompts::repeats() const {
  return group.size() - std::unordered_set<std::size_t>(group.begin(), group.end()).size();
}

std::vector<std::size_t> groups_of(std::size_t prompts, std::span<const std::size_t> first,
                                   std::span<const std::size_t> second, std::span<const std::uint8_t> positive) {
  std::vector<std::size_t> parent(prompts);
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  const auto root = [&](std::size_t prompt) {
    while (parent[prompt] != prompt) prompt = parent[prompt] = parent[parent[prompt]];
    return prompt;
  };
  for (std::size_t pair = 0; pair < positive.size(); ++pair) {
    if (positive[pair] != 0) parent[root(first[pair])] = root(second[pair]);
  }
  std::vector<std::size_t> groups(prompts);
  for (std::size_t prompt = 0; prompt < prompts; ++prompt) groups[prompt] = root(prompt);
  return groups;
}

std::vector<StreamPoint> simulate_stream(const StreamPrompts& prompts, std::span<const double> thresholds,
                                         std::size_t orders, std::uint64_t seed) {
  const std::size_t n = prompts.size();
  const std::size_t width = prompts.dimension;
  if (prompts.vectors.size() != n * width || n == 0 || orders == 0) {
    throw Error(ErrorCode::usage, {"simulate_stream"},
                std::to_string(n) + " groups, " + std::to_string(prompts.vectors.size()) + " values, " +
                    std::to_string(orders) + " orders",
                "one vector a group, at least one of each, and at least one order");
  }
  std::vector<float> similarity(n * n);
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      const float* x = prompts.vectors.data() + a * width;
      const float* y = prompts.vectors.data() + b * width;
      similarity[a * n + b] = similarity[b * n + a] = std::inner_product(x, x + width, y, 0.0F);
    }
  }
  const auto repeats = static_cast<double>(std::max<std::size_t>(prompts.repeats(), 1));
  std::vector<StreamPoint> result;
  for (const double threshold : thresholds) result.push_back({threshold, 0, 0, 0});
  std::mt19937_64 random(seed);
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> stored;
  for (std::size_t round = 0; round < orders; ++round) {
    for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    for (StreamPoint& point : result) {
      stored.clear();
      double hits = 0;
      double right = 0;
      for (const std::size_t prompt : order) {
        const float* row = similarity.data() + prompt * n;
        std::size_t nearest = n;
        float best = -2;
        for (const std::size_t candidate : stored) {
          if (row[candidate] > best) {
            best = row[candidate];
            nearest = candidate;
          }
        }
        if (nearest<n&& static_cast<double>(best)> point.threshold) {
          hits += 1;
          right += prompts.group[nearest] == prompts.group[prompt] ? 1 : 0;
        } else {
          stored.push_back(prompt);
        }
      }
      point.hits += hits;
      point.true_hits += right;
    }
  }
  for (StreamPoint& point : result) {
    point.hits /= static_cast<double>(orders);
    point.true_hits /= static_cast<double>(orders);
    point.efficiency = (2 * point.true_hits - point.hits) / repeats;
  }
  return result;
}

}  // namespace promptcache
