#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace promptcache::train {

/// Multi-head attention over texts that lie one behind the other, with the kernels of train/kernels.hpp. CPU, f32.
/// q, k, v: [tokens, heads * head size]; `lengths`: tokens of each text. Differentiable.
torch::Tensor packed_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                               const std::vector<std::int64_t>& lengths, std::int64_t heads, double dropout,
                               std::uint64_t seed);

/// Dropout whose mask depends on `seed` alone. CPU, f32. Differentiable.
torch::Tensor seeded_dropout(const torch::Tensor& x, double rate, std::uint64_t seed);

}  // namespace promptcache::train
