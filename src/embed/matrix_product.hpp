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

#include "embed/byte_product.hpp"
#include "promptcache/model/model_directory.hpp"  // Activation

namespace promptcache::embed {

/// The process's one oneDNN engine, limited to `active_isa()`. Throws `Error(unsupported)` when the limit comes too
/// late because the application has used oneDNN before.
const dnnl::engine& cpu_engine();

/// What a product takes and gives.
enum class Arithmetic : std::uint8_t {
  f32,   ///< y = activation(x W^T + b), all f32
  bf16,  ///< the same, x and W rounded to bf16, y too where there is an activation; sums in f32
  int8,  ///< y = x W^T, x of unsigned bytes, W of signed ones, y of 32 bits
};

/// Whether this processor, or what the process is limited to, has instructions for it.
bool has_arithmetic(Arithmetic arithmetic);

/// Weights of one linear layer in the layout its product wants; memory of the caller's.
struct PackedWeights {
  const void* weights = nullptr;
  const float* bias = nullptr;  // of a product in f32 or bf16
};

/// A product with the weights of one shape [in] -> [out], packed once.
///
/// oneDNN 2.6 has a kernel that reads packed f32 weights without copying them as a matrix product on AVX-512 only. On
/// AVX2 its 1x1 convolution is such a kernel, 1.2 to 1.7 times as fast as its matmul there, so tokens are given to it
/// as the pixels of one image. Bytes go to a kernel of ours on AVX2 (byte_product.hpp). Safe from many threads; a
/// number of rows that oneDNN sees for the first time costs the making of its kernel, about 0.2 ms, and there are at
/// most `max_rows` of them.
class MatrixProduct {
 public:
  static constexpr std::size_t max_rows = 128;  // more tokens gain nothing and leave the second-level cache

  /// `activation` is not for int8; null: none.
  MatrixProduct(std::size_t in, std::size_t out, Arithmetic arithmetic, const Activation* activation = nullptr);
  ~MatrixProduct();
  MatrixProduct(const MatrixProduct&) = delete;
  MatrixProduct& operator=(const MatrixProduct&) = delete;

  /// Bytes of packed weights; they stand on a boundary of `packed_alignment`.
  std::size_t packed_size() const;
  static constexpr std::size_t packed_alignment = 64;

  /// Packs row-major `weights` [out, in].
  void pack(std::span<const float> weights, void* packed) const;
  void pack(std::span<const std::int8_t> weights, void* packed) const;

  /// `x` [rows, in] to `y` [rows, out], 0 < rows <= max_rows, of the types of the arithmetic; of bytes `x` is readable
  /// for `readable_beyond` more than that.
  void run(const void* x, std::size_t rows, const PackedWeights& weights, void* y, dnnl::stream& stream,
           dnnl::memory& scratch) const;
  static constexpr std::size_t readable_beyond = byte_product_block;

  /// Makes what the first run of so many rows would have to make.
  void prepare(std::size_t rows) const {
    if (recipe_) plan(rows);
  }

  /// The name of the kernel that `rows` rows run on, oneDNN's or "bytes:avx2" for ours.
  std::string kernel(std::size_t rows) const;

 private:
  struct Plan;
  struct Recipe;

  const Plan& plan(std::size_t rows) const;
  void pack_matrix(const void* weights, dnnl::memory::data_type type, void* packed) const;

  std::size_t in_;
  std::size_t out_;
  std::unique_ptr<Recipe> recipe_;  // null: a byte product of ours
  mutable std::mutex making_;
  mutable std::array<std::atomic<const Plan*>, max_rows + 1> plans_{};
};

}  // namespace promptcache::embed
