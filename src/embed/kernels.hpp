#pragma once

// The vector work of the encoder outside the matrix products, compiled for every instruction set and chosen at run
// time. All matrices are row-major f32; nothing here allocates or throws.

#include <cstddef>

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

/// out = mean of `count` rows of `width`.
void mean_rows(const float* rows, std::size_t count, std::size_t width, float* out);

/// Scales a vector to length one; a zero vector stays zero.
void normalize(float* vector, std::size_t width);

}  // namespace promptcache::embed
