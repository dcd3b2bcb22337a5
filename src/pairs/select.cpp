#include "promptcache/pairs/select.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "base/random.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

/// Positions by rising similarity; equal ones as they came.
std::vector<std::size_t> by_similarity(std::span<const double> similarities, std::span<const double> labels) {
  if (similarities.size() != labels.size()) {
    throw Error(ErrorCode::usage, {"similarities"}, std::to_string(similarities.size()) + " values",
                std::to_string(labels.size()) + ", one a pair");
  }
  for (std::size_t i = 0; i < similarities.size(); ++i) {
    if (!std::isfinite(similarities[i])) {
      throw Error(ErrorCode::numeric, {"similarity of pair " + std::to_string(i + 1)}, std::to_string(similarities[i]),
                  "a finite number");
    }
  }
  std::vector<std::size_t> order(similarities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return similarities[a] < similarities[b]; });
  return order;
}

}  // namespace

std::vector<std::size_t> select_boundary(std::span<const double> similarities, std::span<const double> labels) {
  std::vector<std::size_t> kept;
  for (std::size_t i : by_similarity(similarities, labels)) {
    if (kept.empty() || (labels[i] >= 0.5) != (labels[kept.back()] >= 0.5)) kept.push_back(i);
  }
  return kept;
}

std::vector<std::size_t> select_stratified(std::span<const double> similarities, std::span<const double> labels,
                                           std::size_t strata, std::uint64_t seed) {
  if (strata == 0) throw Error(ErrorCode::usage, {"strata"}, "0", "at least 1");
  const std::vector<std::size_t> order = by_similarity(similarities, labels);
  std::mt19937_64 random(seed);
  std::vector<std::size_t> ranks;  // of the kept pairs in the order
  std::size_t begin = 0;
  const std::size_t parts = std::min(strata, std::max<std::size_t>(1, order.size()));
  for (std::size_t part = 1; part <= parts; ++part) {
    std::size_t end = order.size() / parts * part + order.size() % parts * part / parts;
    if (end <= begin) continue;
    while (end < order.size() && similarities[order[end]] == similarities[order[end - 1]]) ++end;
    std::array<std::vector<std::size_t>, 2> classes;
    for (std::size_t rank = begin; rank < end; ++rank) classes[labels[order[rank]] >= 0.5 ? 1 : 0].push_back(rank);
    const std::size_t count = std::min(classes[0].size(), classes[1].size());
    for (const std::vector<std::size_t>& members : classes) {
      for (const std::uint64_t i : base::draw_distinct(random, count, members.size())) ranks.push_back(members[i]);
    }
    begin = end;
  }
  std::sort(ranks.begin(), ranks.end());
  for (std::size_t& rank : ranks) rank = order[rank];
  return ranks;
}

void require_both_labels(const PairFile& file) {
  const auto positives = static_cast<std::size_t>(
      std::count_if(file.pairs.begin(), file.pairs.end(), [](const Pair& pair) { return pair.positive(); }));
  if (positives > 0 && positives < file.pairs.size()) return;
  throw Error(ErrorCode::format, {file.path},
              "all " + std::to_string(file.pairs.size()) + " pairs with label " +
                  (positives == 0 ? "0 (below 0.5)" : "1 (0.5 or above)"),
              "pairs of both labels");
}

}  // namespace promptcache
