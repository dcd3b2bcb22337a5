#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace promptcache::embed {

/// The largest sum of the positive, and of the negative, weights among inputs 0, 1, 4 and 5, or 2, 3, 6 and 7, of any
/// eight, with which a product of bytes is exact here. Without VNNI products are added in 16 bits, which hold
/// 255 * 128: two by oneDNN, neighbours, cut off silently beyond that, and four by ours.
int largest_int8_group();

/// What the codes of the weights of one linear layer mean: weight = code * scale of the output.
struct WeightScales {
  std::span<float> scale;              ///< [outputs]
  std::span<std::int32_t> weight_sum;  ///< [outputs], sum of the codes
};

/// Codes of row-major `weights` [outputs, inputs], in groups within `largest_group`.
void code_weights(std::span<const float> weights, int largest_group, std::span<std::int8_t> codes, WeightScales scales);

}  // namespace promptcache::embed
