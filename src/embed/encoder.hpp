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
    codes.reserve(count * width + MatrixProduct::readable_beyond);
    rows.reserve(count);
  }
};

/// What one running call needs of its own: activations and, for each of its threads, oneDNN's stream. One call at a
/// time.
class Workspace {
 public:
  /// Hidden states of the last `Encoder::run`, [tokens, hidden_size].
  const float* hidden() const noexcept { return hidden_.data(); }

 private:
  friend class Encoder;

  /// One thread's. Of int8 are the sums and the codes.
  struct Lane {
    Lane();

    dnnl::stream stream;
    dnnl::memory scratch;
    Buffer<float> inner, attention;
    Buffer<std::int32_t> sums;
    CodedRows context_codes, inner_codes;
  };

  std::vector<Lane> lanes_;
  Buffer<float> hidden_, projections_, context_, update_;
  Buffer<std::uint16_t> rounded_;  // of bf16
  CodedRows hidden_codes_;         // of int8
};

/// Memory that somebody owns.
template <class T>
struct Shared {
  std::shared_ptr<const void> owner;
  std::span<const T> values;
};

/// Token ids of one text.
using Sequence = std::span<const std::int32_t>;

/// A BERT or XLM-RoBERTa encoder, its products in f32, in bf16, or in int8: weights with a scale for each output,
/// activations with one for each token, all else in f32. Texts stand one behind the other without padding, and each
/// attends to itself only. Immutable; safe from many threads, each with its own workspace.
class Encoder {
 public:
  /// Most tokens worth running together: more gain nothing, and these stay in the second-level cache.
  static constexpr std::size_t block_tokens = MatrixProduct::max_rows;

  /// `threads` is what a call uses inside, the calling thread included.
  Encoder(const EncoderConfig& config, EncoderWeights weights, Arithmetic arithmetic, int threads);

  /// From what `packed()` of an encoder of the same weights, configuration, arithmetic and kernels gave, on a boundary
  /// of 64 bytes, and the table of words. Throws `Error(format)` when `packed` has another size.
  Encoder(const EncoderConfig& config, Shared<float> words, Shared<std::byte> packed, Arithmetic arithmetic,
          int threads);
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// All weights but the table of words, as they run.
  std::span<const std::byte> packed() const noexcept { return packed_.values; }

  /// Runs the sequences, each of 1 to `max_positions()` ids below `vocabulary_size`, and leaves the last hidden states
  /// in the workspace. `second_texts`: for each sequence the token at which its second text begins (token type 1), for
  /// models that read two; empty when there are none.
  void run(std::span<const Sequence> sequences, Workspace& workspace,
           std::span<const std::size_t> second_texts = {}) const;

  /// Has oneDNN make its kernels for up to so many tokens, which their first use would wait for.
  void prepare(std::size_t tokens) const;

 private:
  struct Linear;
  struct Layer;

  Encoder(const EncoderConfig& config, Arithmetic arithmetic, int threads);
  std::size_t lay_out(const std::byte* at);
  void fill(EncoderWeights weights);
  void fill(const MatrixProduct& product, const Linear& linear, std::span<const float> weights,
            std::span<const float> bias);
  template <class Body>
  void for_each_part(std::size_t rows, Workspace& workspace, Body body) const;
  void reserve(std::size_t tokens, Workspace& workspace) const;
  void embed_tokens(std::span<const Sequence> sequences, std::span<const std::size_t> second_texts,
                    Workspace& workspace) const;
  void attend_all(std::span<const Sequence> sequences, Workspace& workspace) const;
  void run_layer(const Layer& layer, std::span<const Sequence> sequences, std::size_t tokens,
                 Workspace& workspace) const;
  void run_layer_int8(const Layer& layer, std::span<const Sequence> sequences, std::size_t tokens,
                      Workspace& workspace) const;

  EncoderConfig config_;
  Arithmetic arithmetic_;
  int threads_;
  MatrixProduct projection_;  // hidden -> queries, keys and values side by side
  MatrixProduct attention_output_;
  MatrixProduct up_;
  MatrixProduct down_;
  Shared<float> words_;               // [vocabulary_size, hidden]
  Shared<std::byte> packed_;          // what the following point into
  const float* positions_ = nullptr;    // [position_rows, hidden], the row of token type 0 added
  const float* second_type_ = nullptr;  // [hidden], what token type 1 has over type 0
  LayerNorm norm_;
  std::vector<Layer> layers_;
};

}  // namespace promptcache::embed
