#pragma once

#include <cstddef>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace promptcache {

/// Cosine of each pair's two questions, and how many distinct texts were longer than the encoder's window.
struct PairSimilarities {
  std::vector<double> values;
  std::size_t distinct_texts = 0;
  std::size_t truncated_texts = 0;
};

/// Embeds every distinct question once, on `threads` threads (the embedder must take as many callers), and compares.
/// The result does not depend on `threads`. Memory: one vector a distinct text.
PairSimilarities pair_similarities(const Embedder& embedder, const std::vector<Pair>& pairs, std::size_t threads = 1,
                                   const ProgressCallback& progress = {});

}  // namespace promptcache
