#pragma once

#include <hwy/aligned_allocator.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <string>
#include <vector>

#include "embed/kernels.hpp"
#include "embed/matrix_product.hpp"
#include "promptcache/model/model_directory.hpp"

namespace promptcache {
struct EncoderWeights;
}

namespace promptcache::embed {

/// An array on a cache line that only ever grows.
template <class T>
class Buffer {
 public:
  /// At least `size` values, the old content lost when it has to grow.
  T* reserve(std::size_t size) {
    if (size > size_) {
      data_ = hwy::AllocateAligned<T>(size);
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = size;
    }
    return data_.get();
  }
  T* data() const noexcept { return data_.get(); }

 private:
  hwy::AlignedFreeUniquePtr<T[]> data_;
  std::size_t size_ = 0;
};

/// Rows as codes of 8 bits, and what they mean in each.
struct CodedRows {
  Buffer<std::uint8_t> codes;
  Buffer<RowCode> rows;

  void reserve(std::size_t count, std::size_t width) {
    codes.reserve(count * width);
    rows.reserve(count);
  }
};

/// What one running call needs of its own: activations and a oneDNN stream. One thread at a time.
class Workspace {
 public:
  Workspace();

  /// Hidden states of the last `Encoder::run`, [tokens, hidden_size].
  const float* hidden() const noexcept { return hidden_.data(); }

 private:
  friend class Encoder;

  dnnl::stream stream_;
  dnnl::memory scratch_;
  Buffer<float> hidden_, projections_, context_, update_, inner_, attention_;
  CodedRows hidden_codes_, context_codes_, inner_codes_;  // of int8 only, as are the sums
  Buffer<std::int32_t> sums_;
};

/// Token ids of one text.
using Sequence = std::span<const std::int32_t>;

/// A BERT or XLM-RoBERTa encoder, its products in f32 or in int8: weights with a scale for each output, activations
/// with one for each token, all else in f32. Texts stand one behind the other without padding, and each attends to
/// itself only. Immutable; safe from many threads, each with its own workspace.
class Encoder {
 public:
  /// Most tokens worth running together: more gain nothing, and these stay in the second-level cache.
  static constexpr std::size_t block_tokens = MatrixProduct::max_rows;

  /// `threads` is what a call uses inside, the calling thread included.
  Encoder(const EncoderConfig& config, EncoderWeights weights, Arithmetic arithmetic, int threads);
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// Runs the sequences, each of 1 to `max_positions()` ids below `vocabulary_size`, and leaves the last hidden states
  /// in the workspace.
  void run(std::span<const Sequence> sequences, Workspace& workspace) const;

  /// oneDNN's kernel of the largest product at so many tokens; for benchmarks.
  std::string kernel(std::size_t tokens) const { return up_.kernel(tokens); }

 private:
  struct Linear;
  struct Layer;

  void embed_tokens(std::span<const Sequence> sequences, Workspace& workspace) const;
  void attend_all(std::span<const Sequence> sequences, Workspace& workspace) const;
  void run_layer(const Layer& layer, std::span<const Sequence> sequences, std::size_t tokens,
                 Workspace& workspace) const;
  void run_layer_int8(const Layer& layer, std::span<const Sequence> sequences, std::size_t tokens,
                      Workspace& workspace) const;

  EncoderConfig config_;
  Arithmetic arithmetic_;
  int threads_;
  std::vector<float> words_;      // [vocabulary_size, hidden]
  std::vector<float> positions_;  // [position_rows, hidden], the row of token type 0 added
  std::vector<float> norm_scale_;
  std::vector<float> norm_shift_;
  MatrixProduct projection_;  // hidden -> queries, keys and values side by side
  MatrixProduct attention_output_;
  MatrixProduct up_;
  MatrixProduct down_;
  std::vector<Layer> layers_;
};

}  // namespace promptcache::embed
