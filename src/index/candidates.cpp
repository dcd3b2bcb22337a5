#include "index/candidates.hpp"

#include <cmath>
#include <string>

#include "promptcache/base/error.hpp"

namespace promptcache::index {

void check_vector(std::span<const float> vector, std::size_t dimension) {
  if (vector.size() != dimension) {
    throw Error(ErrorCode::usage, {"vector"}, std::to_string(vector.size()) + " values",
                std::to_string(dimension) + ", the index's dimension");
  }
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (!std::isfinite(vector[i])) {
      throw Error(ErrorCode::numeric, {"value " + std::to_string(i)}, std::to_string(vector[i]), "a finite number");
    }
  }
}

std::size_t write_best(std::vector<Candidate>& candidates, std::span<Candidate> out) {
  const std::size_t count = std::min(out.size(), candidates.size());
  const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(candidates.begin(), end, candidates.end(), better);
  std::copy(candidates.begin(), end, out.begin());
  return count;
}

}  // namespace promptcache::index
