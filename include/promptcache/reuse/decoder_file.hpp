#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "promptcache/base/digest.hpp"
#include "promptcache/reuse/chat_tags.hpp"
#include "promptcache/text/bpe_tokenizer.hpp"

namespace promptcache::reuse {

/// Decoder families: llama has RMSNorm, SwiGLU and rotated keys; gpt2 LayerNorm, GELU and a table of positions; mpt the
/// same without biases and with ALiBi.
enum class DecoderFamily { llama, gpt2, mpt };

/// Shape of a decoder.
struct DecoderConfig {
  DecoderFamily family = DecoderFamily::llama;
  std::size_t width = 0;
  std::size_t layers = 0;
  std::size_t heads = 0;
  std::size_t kv_heads = 0;  ///< each serves heads / kv_heads query heads
  std::size_t head_size = 0;
  std::size_t inner = 0;       ///< width of the feed-forward part
  std::size_t vocabulary = 0;  ///< rows of the word embedding
  std::size_t context = 0;     ///< largest position + 1 that the model was made for
  float norm_eps = 1e-5F;
  bool tied = true;               ///< the word embedding is the output matrix, too
  std::vector<double> rope = {};  ///< llama: radians a position, one for each of head_size / 2 pairs, scaling applied
  std::vector<float> alibi = {};  ///< mpt: slope of each head
  std::vector<std::int32_t> ends = {};  ///< tokens that end a text

  std::size_t query_width() const noexcept { return heads * head_size; }
  std::size_t kv_width() const noexcept { return kv_heads * head_size; }
};

/// Tensors of a decoder by what they are for; those from `attention_norm` to `down_bias` are there once a layer.
enum class DecoderPart {
  words,
  positions,
  attention_norm,
  attention_norm_bias,
  query,
  query_bias,
  key,
  key_bias,
  value,
  value_bias,
  attention_output,
  attention_output_bias,
  inner_norm,
  inner_norm_bias,
  gate,
  gate_bias,
  up,
  up_bias,
  down,
  down_bias,
  final_norm,
  final_norm_bias,
  output,
};

/// A decoder on disk: a Hugging Face directory (config.json, safetensors in one file or in shards, tokenizer.json) of
/// type llama, gpt2 or mpt, or a GGUF file of architecture llama. Immutable and safe from many threads.
class DecoderFile {
 public:
  /// Reads everything but the weights. Throws `Error` naming the file: not_found, format, unsupported.
  static DecoderFile open(const std::string& path);

  DecoderFile(DecoderFile&&) noexcept;
  DecoderFile& operator=(DecoderFile&&) noexcept;
  ~DecoderFile();

  const std::string& path() const;
  const DecoderConfig& config() const;

  /// False for parts that this model does not have: biases, mostly.
  bool has(DecoderPart part, std::size_t layer = 0) const;

  /// Values in f32, row-major: matrices [out, in], the word and position tables [rows, width], vectors [out]. Rows of
  /// query and key are in the order of Hugging Face, the two halves of a head turned against each other. Throws
  /// `Error`: not_found, mismatch (shape), unsupported (type), numeric (NaN or infinity).
  std::vector<float> read(DecoderPart part, std::size_t layer = 0) const;
  std::vector<std::size_t> shape(DecoderPart part) const;

  /// Throws `Error` as `BpeTokenizer` does, and mismatch for one that has more tokens than the model.
  std::shared_ptr<const BpeTokenizer> tokenizer() const;

  /// Tags of the model's own chat template, told apart by its special tokens. Throws `Error`: not_found for a model
  /// without one, unsupported for one that is none of ChatML, Llama-2 and Llama-3.
  ChatTags chat() const;

  /// SHA-256 over configuration and weights, as stored.
  Digest identity() const;

  struct Source;  // a directory or a GGUF file

 private:
  explicit DecoderFile(std::shared_ptr<const Source> source);
  std::shared_ptr<const Source> source_;
};

}  // namespace promptcache::reuse
