#pragma once

// The vector work of the encoder outside the matrix products, compiled for every instruction set and chosen at run
// time. All matrices are row-major; nothing here allocates or throws.

#include <cstddef>
#include <cstdint>

#include "promptcache/model/model_directory.hpp"  // Activation

namespace promptcache::embed {

/// Weight rows and shape of a layer normalisation.
struct LayerNorm {
  const float* scale = nullptr;  ///< [width]
  const float* shift = nullptr;  ///< [width]
  float epsilon = 0;
};

/// rows[i] = normalise(rows[i] + addend[i]) for `count` rows of `width`; `addend` may be null.
void add_layer_norm(float* rows, const float* addend, std::size_t count, std::size_t width, const LayerNorm& norm);

/// out = words + positions, each of `width`.
void add_rows(const float* words, const float* positions, float* out, std::size_t width);

/// Floats of scratch that `attend` needs for a sequence of `length` tokens.
std::size_t attention_scratch(std::size_t length, std::size_t head_size);

/// Self-attention of one head over one sequence: out = softmax(Q K^T) V. `qkv` points at the head's first query value
/// in rows of `row_stride` floats holding queries, keys and values `part_stride` apart; queries are scaled already.
/// `out` points at the head's first value in rows of `out_stride`.
void attend(const float* qkv, std::size_t length, std::size_t head_size, std::size_t row_stride,
            std::size_t part_stride, float* out, std::size_t out_stride, float* scratch);

/// What the codes of a row mean: value = (code - zero) * scale.
struct RowCode {
  float scale = 0;
  std::int32_t zero = 0;
};

/// Codes of 8 bits for `count` rows of `width`: the smallest value of a row, or 0, becomes 0 and the largest 255, so
/// that what GELU leaves, nearly all of it on one side, has all of them to itself.
void quantize_rows(const float* rows, std::size_t count, std::size_t width, std::uint8_t* codes, RowCode* row_codes);

/// What makes values of the sums of a product of codes: value = (sum - the row's zero * weight_sum) * the row's scale *
/// scale + bias.
struct Columns {
  const std::int32_t* weight_sum = nullptr;  ///< [width]
  const float* scale = nullptr;              ///< [width]
  const float* bias = nullptr;               ///< [width]
};

/// The sums of `count` rows, as the product left them, and what the codes of the rows meant that it was given.
struct Sums {
  const std::int32_t* data = nullptr;
  const RowCode* rows = nullptr;
  std::size_t count = 0;
  std::size_t width = 0;
};

/// out = values of the sums.
void dequantize(const Sums& sums, const Columns& columns, float* out);

/// Codes of activation(values). `row` has room for one row.
void activate_quantize(const Sums& sums, const Columns& columns, Activation activation, float* row, std::uint8_t* codes,
                       RowCode* row_codes);

/// rows[i] = normalise(rows[i] + values), and their codes.
void add_layer_norm_quantize(const Sums& sums, const Columns& columns, const LayerNorm& norm, float* rows,
                             std::uint8_t* codes, RowCode* row_codes);

/// out = mean of `count` rows of `width`.
void mean_rows(const float* rows, std::size_t count, std::size_t width, float* out);

/// Scales a vector to length one; a zero vector stays zero.
void normalize(float* vector, std::size_t width);

}  // namespace promptcache::embed
