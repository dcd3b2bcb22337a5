#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "promptcache/embed/embedder.hpp"

namespace promptcache {

/// The arithmetic of an encoder's products; all else is f32.
enum class Precision : std::uint8_t {
  automatic,  ///< int8 when its vectors agree with those of f32 at opening (see `TransformerEmbedder::open`), else f32
  f32,
  bf16,  ///< weights and activations rounded; for processors with AVX-512 BF16 or AMX
  int8,  ///< weights with a scale for each output, activations with one for each token
};

/// "automatic", "f32", "bf16", "int8".
const char* to_string(Precision precision) noexcept;

/// The reverse. Throws `Error(usage)` naming `place`.
Precision precision_from(std::string_view name, const std::string& place);

struct EmbedderOptions {
  std::size_t max_tokens = 0;        ///< longest input, special tokens included; 0: the model's own
  std::size_t parallel_callers = 0;  ///< calls that run at the same time, further ones wait; 0: one a processor
  std::size_t threads_per_call = 1;  ///< threads inside one call, the caller's included
  std::string prompt_name = {};      ///< which of the model's prompts goes before every text; empty: its default
  Precision precision = Precision::automatic;
};

/// The encoder of a Hugging Face / sentence-transformers model directory (BERT, XLM-RoBERTa) on oneDNN.
///
/// Texts of one call are sorted by length and run one behind the other, without padding. `const` and safe from many
/// threads; the caller's OpenMP setting is as before after each call. Vectors have length one, whether the model ends
/// in a Normalize module or not. The same text gives the same vector up to rounding (1e-6) whatever stands beside it
/// in the call, and the same bits in the same call.
///
///     auto embedder = TransformerEmbedder::open("models/all-MiniLM-L6-v2");
///     std::vector<float> vector = embedder->embed_one("How do I reset my password?");
class TransformerEmbedder : public Embedder {
 public:
  /// Reads and packs the weights. With `Precision::automatic` a few texts are embedded in int8 and in f32; when the
  /// lowest cosine of the two vectors of a text is below 0.99, the encoder stays in f32. Throws `Error`: what
  /// `ModelDirectory::open` and `open_tokenizer` throw; numeric for NaN or infinite weights; usage for options out of
  /// range; not_found for an unknown prompt name; unsupported for bf16 where the processor lacks it.
  ///
  /// Beside the weights are kept, where they can be written, promptcache-notes.json with what was found out about them
  /// and promptcache-int8-ISA.bin with the packed form of int8, so that the next opening maps it, and shares it with
  /// other processes. Both are ignored and made anew when they are damaged or belong to other weights or kernels.
  static std::shared_ptr<const TransformerEmbedder> open(const std::string& directory,
                                                         const EmbedderOptions& options = {});
  ~TransformerEmbedder() override;

  std::size_t dimension() const override;
  Digest identity() const override;
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override;

  Precision precision() const;     ///< never automatic
  std::size_t max_tokens() const;  ///< longest input in tokens; what is beyond is cut and reported

 private:
  struct Impl;
  explicit TransformerEmbedder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
