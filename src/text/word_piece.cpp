#include "text/word_piece.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "promptcache/base/error.hpp"
#include "text/encoding.hpp"
#include "text/utf8.hpp"

namespace promptcache::text {
namespace {

std::int32_t id_of(const WordPieceOptions& options, const std::string& token) {
  const auto found = options.vocabulary.find(token);
  if (found == options.vocabulary.end()) {
    throw Error(ErrorCode::format, {options.source}, "a vocabulary without '" + token + "'",
                "one with the tokenizer's special tokens");
  }
  return found->second;
}

}  // namespace

WordPiece::WordPiece(WordPieceOptions options)
    : options_(std::move(options)),
      unknown_id_(id_of(options_, options_.unknown_token)),
      start_id_(id_of(options_, options_.start_token)),
      end_id_(id_of(options_, options_.end_token)),
      padding_id_(id_of(options_, options_.padding_token)) {
  const std::string& prefix = options_.continuation_prefix;
  first_pieces_ = std::move(options_.vocabulary);
  for (const auto& [piece, id] : first_pieces_) {
    if (piece.size() > prefix.size() && piece.compare(0, prefix.size(), prefix) == 0) {
      following_pieces_.emplace(piece.substr(prefix.size()), id);
    }
    longest_piece_ = std::max(longest_piece_, piece.size());
    vocabulary_size_ = std::max(vocabulary_size_, static_cast<std::size_t>(id) + 1);
  }
  Sha256 hash;
  hash.field("tokenizer", "wordpiece");
  const BertNormalization& steps = options_.normalization;
  for (bool flag : {steps.clean_text, steps.handle_chinese_chars, steps.strip_accents, steps.lowercase}) {
    hash.field("step", flag ? "1" : "0");
  }
  hash.field("longest_word", std::to_string(options_.longest_word)).field("prefix", prefix);
  for (const std::string* token :
       {&options_.unknown_token, &options_.start_token, &options_.end_token, &options_.padding_token}) {
    hash.field("special", *token);
  }
  std::vector<std::pair<std::string_view, std::int32_t>> sorted(first_pieces_.begin(), first_pieces_.end());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [piece, id] : sorted) hash.field(piece, std::to_string(id));
  identity_ = hash.finish();
}

void WordPiece::append_word(std::u32string_view word, std::vector<std::int32_t>& ids) const {
  if (word.size() > options_.longest_word) {
    ids.push_back(unknown_id_);
    return;
  }
  std::string bytes;
  std::vector<std::size_t> ends;  // byte position behind each character
  for (char32_t c : word) {
    append_utf8(bytes, c);
    ends.push_back(bytes.size());
  }
  const std::size_t before = ids.size();
  const std::string_view view = bytes;
  std::size_t begin = 0;
  std::size_t first_character = 0;
  while (begin < view.size()) {
    const Pieces& pieces = begin == 0 ? first_pieces_ : following_pieces_;
    // No piece has more characters than the longest has bytes: the cost of a word is linear in its length.
    std::size_t character = std::min(ends.size(), first_character + longest_piece_);
    for (; character > first_character; --character) {
      const std::size_t length = ends[character - 1] - begin;
      const auto found = pieces.find(view.substr(begin, length));
      if (found == pieces.end()) continue;
      ids.push_back(found->second);
      break;
    }
    if (character == first_character) {  // one part unknown makes the word unknown
      ids.resize(before);
      ids.push_back(unknown_id_);
      return;
    }
    begin = ends[character - 1];
    first_character = character;
  }
}

Encoding WordPiece::encode(std::string_view text, std::size_t max_tokens) const {
  std::vector<std::int32_t> ids;
  for (const SpecialTokens::Segment& segment : options_.special_tokens.cut(text)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    const std::u32string normalized = normalize_bert(decode_utf8(segment.text), options_.normalization);
    for (std::u32string_view word : split_bert(normalized)) append_word(word, ids);
  }
  return framed(ids, start_id_, end_id_, unknown_id_, max_tokens);
}

}  // namespace promptcache::text
