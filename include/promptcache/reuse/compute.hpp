#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "promptcache/reuse/decoder.hpp"
#include "promptcache/reuse/kv_block.hpp"

namespace promptcache::reuse {

/// Rows of a block that stand at consecutive positions. Rows from `first_row` to before `rows` are seen.
struct PlacedBlock {
  std::shared_ptr<const KvBlock> block;
  std::size_t position = 0;  ///< of row 0, seen or not
  std::size_t rows = 0;
  std::size_t first_row = 0;
};

/// What a new token sees.
enum class Visibility {
  position_causal,  ///< everything at smaller positions, wherever it comes from
  index_causal,     ///< everything that was there before it, whatever its position, and the new text before it
};

/// Tokens at consecutive positions from `position` on.
struct PlacedTokens {
  std::span<const std::int32_t> tokens;
  std::size_t position = 0;
};

struct ComputeOptions {
  Visibility visibility = Visibility::position_causal;
  std::size_t most_at_once = 256;  ///< tokens in one step of the decoder
  bool logits = true;              ///< of the last token of the last text
};

struct Computed {
  std::vector<PlacedBlock> blocks;  ///< of each text in its order, one behind the other; at most 64 tokens each
  std::vector<float> logits;        ///< [vocabulary], empty when not asked for
};

/// Computes texts over a context. With `position_causal` the order of the texts does not matter, but which one is last.
/// Throws what `Decoder::run` throws.
Computed compute(const Decoder& decoder, std::span<const PlacedBlock> context, std::span<const PlacedTokens> texts,
                 const ComputeOptions& options = {});

}  // namespace promptcache::reuse
