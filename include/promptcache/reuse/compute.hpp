#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "promptcache/reuse/decoder.hpp"
#include "promptcache/reuse/kv_block.hpp"

namespace promptcache::reuse {

/// The first rows of a block, at consecutive positions.
struct PlacedBlock {
  std::shared_ptr<const KvBlock> block;
  std::size_t position = 0;  ///< of row 0
  std::size_t rows = 0;
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

/// A token whose keys and values are there, to be computed again where they are.
struct Recomputed {
  std::int32_t token = 0;
  std::size_t block = 0;  ///< of the context
  std::size_t row = 0;
};

struct ComputeOptions {
  Visibility visibility = Visibility::position_causal;
  std::size_t most_at_once = 256;  ///< tokens in one step of the decoder
  bool logits = true;              ///< of the token at the largest position
  std::size_t layers = 0;          ///< as in `Step`
};

struct Computed {
  std::vector<PlacedBlock> blocks;  ///< of each text in its order, one behind the other; at most 64 tokens each
  std::vector<float> logits;        ///< [vocabulary], empty when not asked for
};

/// Computes texts over a context, and some of the context's own tokens again, these always with sight of what is at
/// smaller positions. Blocks with such tokens are replaced in `context` by copies. With `position_causal` the order of
/// the texts does not matter. Throws what `Decoder::run` throws.
Computed compute(const Decoder& decoder, std::vector<PlacedBlock>& context, std::span<const PlacedTokens> texts,
                 std::span<const Recomputed> again = {}, const ComputeOptions& options = {});

}  // namespace promptcache::reuse
