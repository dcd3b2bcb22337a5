#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "promptcache/text/tokenizer.hpp"
#include "text/bert_normalizer.hpp"
#include "text/special_tokens.hpp"

namespace promptcache::text {

struct PieceHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using Pieces = std::unordered_map<std::string, std::int32_t, PieceHash, std::equal_to<>>;

/// Everything that decides WordPiece's ids.
struct WordPieceOptions {
  Pieces vocabulary;
  BertNormalization normalization;
  SpecialTokens special_tokens;
  std::string unknown_token = "[UNK]";
  std::string start_token = "[CLS]";
  std::string end_token = "[SEP]";
  std::string padding_token = "[PAD]";
  std::string continuation_prefix = "##";
  std::size_t longest_word = 100;  ///< in characters; longer words are unknown
  std::string source;              ///< file the vocabulary came from, for messages
};

/// BERT's WordPiece, id for id what transformers' fast tokenizer gives: greedy longest match from the left.
class WordPiece : public Tokenizer {
 public:
  /// Throws `Error(format)` when one of the four named tokens is not in the vocabulary.
  explicit WordPiece(WordPieceOptions options);

  Encoding encode(std::string_view text, std::size_t max_tokens) const override;
  std::size_t vocabulary_size() const override { return vocabulary_size_; }
  std::int32_t padding_id() const override { return padding_id_; }
  Digest identity() const override { return identity_; }

 private:
  void append_word(std::u32string_view word, std::vector<std::int32_t>& ids) const;

  WordPieceOptions options_;
  Pieces first_pieces_;            // pieces that may start a word
  Pieces following_pieces_;        // pieces behind the continuation prefix, stored without it
  std::size_t longest_piece_ = 0;  // bytes
  std::size_t vocabulary_size_ = 0;
  std::int32_t unknown_id_, start_id_, end_id_, padding_id_;
  Digest identity_;
};

/// From tokenizer.json, or from vocab.txt with tokenizer_config.json. Throws `Error` naming the file.
std::shared_ptr<const Tokenizer> open_word_piece(const ModelDirectory& directory);

}  // namespace promptcache::text
