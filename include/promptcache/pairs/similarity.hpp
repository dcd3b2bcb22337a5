#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace promptcache {

/// The distinct questions of pairs with their vectors. The texts are views into the pairs.
struct EmbeddedQuestions {
  std::vector<std::string_view> texts;
  std::vector<std::size_t> first, second;  ///< position of each pair's q1 and q2 among the texts
  std::vector<float> vectors;              ///< [texts, dimension]
  std::size_t truncated = 0;               ///< texts longer than the encoder's window
};

/// Embeds every distinct question once, on `threads` threads (the embedder must take as many callers). The result does
/// not depend on `threads`.
EmbeddedQuestions embed_questions(const Embedder& embedder, const std::vector<Pair>& pairs, std::size_t threads = 1,
                                  const ProgressCallback& progress = {});

/// Cosine of each pair's two questions, and how many distinct texts were longer than the encoder's window.
struct PairSimilarities {
  std::vector<double> values;
  std::size_t distinct_texts = 0;
  std::size_t truncated_texts = 0;
};

/// `embed_questions`, and the cosine of each pair. Memory: one vector a distinct text.
PairSimilarities pair_similarities(const Embedder& embedder, const std::vector<Pair>& pairs, std::size_t threads = 1,
                                   const ProgressCallback& progress = {});

}  // namespace promptcache
