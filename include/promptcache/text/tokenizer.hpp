#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "promptcache/base/digest.hpp"  // identity()

namespace promptcache {

class ModelDirectory;

/// Token ids of one text, special tokens included.
struct Encoding {
  std::vector<std::int32_t> ids;
  std::size_t full_length = 0;     ///< number of ids before truncation, special tokens included
  std::size_t unknown_tokens = 0;  ///< ids equal to the unknown token

  bool truncated() const noexcept { return ids.size() < full_length; }
};

/// Text to token ids. Implementations are immutable and safe from many threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text` between the model's start and end tokens, cut to `max_tokens` ids in all (the end
  /// token is kept). Any bytes are accepted: each maximal invalid UTF-8 sequence counts as U+FFFD.
  /// Throws `Error(usage)` when `max_tokens` has no room for the special tokens.
  virtual Encoding encode(std::string_view text, std::size_t max_tokens) const = 0;

  virtual std::size_t vocabulary_size() const = 0;  ///< largest id + 1
  virtual std::int32_t padding_id() const = 0;

  /// Changes whenever the same text could give other ids.
  virtual Digest identity() const = 0;
};

/// The tokenizer of a model directory: WordPiece (BERT) or SentencePiece (XLM-RoBERTa). Throws `Error`
/// naming the file for a missing, broken or unsupported tokenizer, or one that does not match the
/// number of embedding rows in config.json.
std::shared_ptr<const Tokenizer> open_tokenizer(const ModelDirectory& directory);

}  // namespace promptcache
