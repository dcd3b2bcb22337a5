#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/embed/pair_scorer.hpp"

namespace promptcache {

/// Takes the vectors of some of the texts: their positions, and [positions.size(), dimension] values, both valid during
/// the call. Called from the embedding threads, one call at a time, in no particular order.
using VectorSink = std::function<void(std::span<const std::size_t> positions, std::span<const float> vectors)>;

struct BulkReport {
  std::size_t tokens = 0;
  std::size_t truncated = 0;      ///< texts, or pairs, longer than the encoder's window
  std::size_t unrepresented = 0;  ///< texts of which nothing but unknown tokens was left
};

/// Embeds many texts on `threads` threads, the caller's included (the embedder must take as many callers), texts of
/// like length together. Beside the texts it needs 12 bytes a text and one block of vectors a thread, so that a corpus
/// may be larger than memory when the sink writes it away. The vectors do not depend on `threads`. What the embedder,
/// the sink or `progress` throws ends the work and is thrown.
BulkReport embed_all(const Embedder& embedder, std::span<const std::string_view> texts, std::size_t threads,
                     const VectorSink& sink, const ProgressCallback& progress = {});

/// The same into a matrix, row-major [texts.size(), dimension()]. Throws `Error(usage)` when `out` has another size.
BulkReport embed_all(const Embedder& embedder, std::span<const std::string_view> texts, std::size_t threads,
                     std::span<float> out, const ProgressCallback& progress = {});

/// Scores many pairs in the same way; a logit for each. Throws `Error(usage)` when `logits` has another size.
BulkReport score_all(const PairScorer& scorer, std::span<const TextPair> pairs, std::size_t threads,
                     std::span<float> logits, const ProgressCallback& progress = {});

}  // namespace promptcache
