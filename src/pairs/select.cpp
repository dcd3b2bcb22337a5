#include "promptcache/pairs/select.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "promptcache/base/error.hpp"

namespace promptcache {

std::vector<std::size_t> select_boundary(std::span<const double> similarities, std::span<const double> labels) {
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
  std::vector<std::size_t> kept;
  for (std::size_t i : order) {
    if (kept.empty() || (labels[i] >= 0.5) != (labels[kept.back()] >= 0.5)) kept.push_back(i);
  }
  return kept;
}

}  // namespace promptcache
