#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace promptcache::train {

/// The CPU's own way through what LibTorch does with many small matrix products and passes over memory: attention over
/// texts of different lengths without padding, and dropout whose mask is a function of seed and place, so that the
/// backward pass makes it again instead of storing it. Single-threaded and deterministic.
struct AttentionShape {
  std::span<const std::int64_t> lengths;  ///< tokens of each text; texts lie one behind the other
  std::size_t heads;
  std::size_t head_size;
  float dropout;  ///< rate, 0: none
  std::uint64_t seed;

  std::size_t width() const { return heads * head_size; }
  std::size_t probabilities() const;  ///< floats: heads * sum of squared lengths
};

/// context = softmax(q k^T / sqrt(head_size)) v for each text and head; all [tokens, width]. Fills `probabilities`,
/// those before dropout, for the backward pass.
void attention_forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                       float* probabilities, float* context);

/// Gradients of q, k and v from that of the context.
void attention_backward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                        const float* probabilities, const float* d_context, float* dq, float* dk, float* dv);

/// out = in with each element zero at probability `rate` and divided by (1 - rate) otherwise; may be in place.
void dropout(const float* in, std::size_t count, float rate, std::uint64_t seed, float* out);

}  // namespace promptcache::train
