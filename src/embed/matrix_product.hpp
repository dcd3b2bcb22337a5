#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <string>

#include "promptcache/model/model_directory.hpp"  // Activation

namespace promptcache::embed {

/// The process's one oneDNN engine, limited to `active_isa()`. Throws `Error(unsupported)` when the limit comes too
/// late because the application has used oneDNN before.
const dnnl::engine& cpu_engine();

/// Weights of one linear layer in the layout its product wants, and its bias.
struct PackedWeights {
  dnnl::memory weights;
  dnnl::memory bias;  // of a product in f32
};

/// What a product takes and gives.
enum class Arithmetic : std::uint8_t {
  f32,   ///< y = activation(x W^T + b), all f32
  int8,  ///< y = x W^T, x of unsigned bytes, W of signed ones, y of 32 bits
};

/// The largest sum of two weights of one output at places 2i and 2i + 1 with which a product of bytes is exact. Where
/// the processor multiplies bytes without VNNI, the sum of two products must fit 16 bits, and is cut off silently when
/// it does not: 255 * 128 does.
int largest_int8_pair();

/// A product with the weights of one shape [in] -> [out], packed once.
///
/// oneDNN 2.6 has a kernel that reads packed f32 weights without copying them as a matrix product on AVX-512 only. On
/// AVX2 its 1x1 convolution is such a kernel, 1.2 to 1.7 times as fast as its matmul there, so tokens are given to it
/// as the pixels of one image. Safe from many threads; a number of rows seen for the first time costs the making of
/// its kernel, about 0.2 ms, and there are at most `max_rows` of them.
class MatrixProduct {
 public:
  static constexpr std::size_t max_rows = 128;  // more tokens gain nothing and leave the second-level cache

  /// `activation` is for f32 only; null: none.
  MatrixProduct(std::size_t in, std::size_t out, Arithmetic arithmetic, const Activation* activation = nullptr);
  ~MatrixProduct();
  MatrixProduct(const MatrixProduct&) = delete;
  MatrixProduct& operator=(const MatrixProduct&) = delete;

  /// Packs row-major `weights` [out, in] and `bias` [out].
  PackedWeights pack(std::span<const float> weights, std::span<const float> bias, dnnl::stream& stream) const;
  PackedWeights pack(std::span<const std::int8_t> weights, dnnl::stream& stream) const;

  /// `x` [rows, in] to `y` [rows, out], 0 < rows <= max_rows. `scratch` grows to what the kernel wants.
  void run(const float* x, std::size_t rows, const PackedWeights& weights, float* y, dnnl::stream& stream,
           dnnl::memory& scratch) const;
  void run(const std::uint8_t* x, std::size_t rows, const PackedWeights& weights, std::int32_t* y, dnnl::stream& stream,
           dnnl::memory& scratch) const;

  /// oneDNN's name of the kernel that `rows` rows run on.
  std::string kernel(std::size_t rows) const;

 private:
  struct Plan;
  struct Recipe;

  const Plan& plan(std::size_t rows) const;
  dnnl::memory pack_matrix(const void* weights, dnnl::stream& stream) const;
  void execute(const void* x, std::size_t rows, const PackedWeights& weights, void* y, dnnl::stream& stream,
               dnnl::memory& scratch) const;

  std::size_t in_;
  std::size_t out_;
  std::unique_ptr<Recipe> recipe_;
  mutable std::mutex making_;
  mutable std::array<std::atomic<const Plan*>, max_rows + 1> plans_{};
};

}  // namespace promptcache::embed
