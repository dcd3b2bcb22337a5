#pragma once

#include <cstddef>
#include <span>

#include "promptcache/index/similarity_index.hpp"

namespace promptcache::index {

/// Throws what `SimilarityIndex::add` and `search` promise for a vector that does not fit.
void check_vector(std::span<const float> vector, std::size_t dimension);

/// The order of search results: most similar first, ties by smaller id.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.id < b.id);
}

}  // namespace promptcache::index
