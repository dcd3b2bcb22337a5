#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "promptcache/reuse/kv_block.hpp"
#include "promptcache/reuse/torch_decoder.hpp"

namespace promptcache::reuse {

/// The CPU's own way: products with few rows, attention over blocks, and small passes, for all of which a call into
/// LibTorch takes longer than the work. All in f32 inside.

/// A matrix [out, in] in f32 or bf16, in panels of 16 rows that lie column by column.
class PackedMatrix {
 public:
  static constexpr std::size_t panel = 16;

  PackedMatrix() = default;
  /// Rounds to nearest for bf16.
  PackedMatrix(std::span<const float> values, std::size_t out, std::size_t in, WeightType type);

  std::size_t out() const noexcept { return out_; }
  std::size_t in() const noexcept { return in_; }
  WeightType type() const noexcept { return type_; }
  std::size_t panels() const noexcept { return (out_ + panel - 1) / panel; }

  /// Values of the panel `at`; float or std::uint16_t, as the type is.
  template <class Value>
  const Value* data(std::size_t at) const noexcept {
    return reinterpret_cast<const Value*>(values_.get()) + at * panel * in_;
  }

  void row(std::size_t at, float* to) const;  ///< values of a row, widened

 private:
  std::size_t out_ = 0, in_ = 0;
  WeightType type_ = WeightType::f32;
  std::shared_ptr<std::byte> values_;
};

/// result[rows, out] = x[rows, in] W^T for the panels from `first` to before `last`; rows of the result are
/// `result_step` apart.
void multiply(const PackedMatrix& w, const float* x, std::size_t rows, std::size_t first, std::size_t last,
              float* result, std::size_t result_step);

/// Cosines and sines of whole distances, [distance, pairs] each.
struct RotationTable {
  std::size_t pairs = 0;
  std::vector<float> cosines, sines;

  RotationTable() = default;
  RotationTable(std::span<const double> frequencies, std::size_t distances);
};

/// to = from turned by a distance; the halves of a head are turned against each other. May be in place.
void rotate(const RotationTable& table, std::ptrdiff_t distance, const float* from, float* to);

/// One layer's sight of one run.
struct AttentionRun {
  const KvBlock* block;
  std::size_t position;
};

/// What attention works on. Queries are [tokens, heads * head_size], not turned.
struct AttentionCall {
  std::size_t heads, kv_heads, head_size;
  std::size_t layer;
  const RotationTable* rotation;  ///< null: keys are not rotary
  std::span<const float> slopes;  ///< ALiBi; empty: none
  std::span<const AttentionRun> runs;
  std::span<const std::size_t> positions;  ///< of the tokens
  std::span<const std::uint32_t> visible;  ///< [tokens, runs]
  const float* queries;
  std::size_t query_step;  ///< floats from one token's queries to the next one's
  float* result;           ///< [tokens, heads * head_size]
};

/// Attention of the query heads that share one head of keys and values, for tokens from `first` to before `last`.
/// Deterministic, and the same for a token whatever other tokens are in the call.
void attend(const AttentionCall& call, std::size_t kv_head, std::size_t first, std::size_t last);

/// Writes a token's keys, turned by `row`, and values of one layer.
void store_row(const RotationTable* rotation, const float* keys, const float* values, KvBlock& block, std::size_t layer,
               std::size_t row);

/// to = from / root mean square * weight.
void rms_norm(const float* from, const float* weight, std::size_t width, float eps, float* to);

/// gate = silu(gate) * up.
void gated_silu(float* gate, const float* up, std::size_t count);

}  // namespace promptcache::reuse
