#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promptcache/base/digest.hpp"  // identity()

namespace promptcache {

class GgufFile;

/// Byte-level BPE, the tokenizer of most decoders: text to token ids and back. Cuts words as GPT-2, Llama-3 or SmolLM
/// do. Special tokens are found by name only and never come from text. Immutable and safe from many threads.
class BpeTokenizer {
 public:
  /// From a tokenizer.json. Throws `Error`: format for a broken file, unsupported, naming the part, for one that does
  /// anything else than cut words in one of these ways and merge bytes.
  static std::shared_ptr<const BpeTokenizer> open(const std::string& tokenizer_json);

  /// From the metadata of a GGUF file. Errors likewise.
  static std::shared_ptr<const BpeTokenizer> from_gguf(const GgufFile& file);

  ~BpeTokenizer();

  /// Ids of `text`, no special ones among them. Any bytes are accepted: each maximal invalid UTF-8 sequence counts as
  /// U+FFFD; a byte that the vocabulary has no token for, rare control characters in some, is left out.
  std::vector<std::int32_t> encode(std::string_view text) const;

  /// Bytes of the tokens one after the other, special ones left out unless they are wanted. A character may span
  /// tokens: the bytes of some ids alone need not be UTF-8. Throws `Error(usage)` for an id that there is not.
  std::string decode(std::span<const std::int32_t> ids, bool with_special = false) const;

  /// The special token of a name such as "<|im_end|>".
  std::optional<std::int32_t> special(std::string_view name) const;
  bool is_special(std::int32_t id) const;

  std::size_t vocabulary_size() const;  ///< largest id + 1

  /// Changes whenever the same text could give other ids.
  Digest identity() const;

 private:
  struct Impl;
  explicit BpeTokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace promptcache
