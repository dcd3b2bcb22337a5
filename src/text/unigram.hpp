#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace promptcache::text {

/// What a unigram tokenizer is made of: sentencepiece's model file, or the same facts from a tokenizer.json.
struct PieceModel {
  struct Piece {
    std::string text;
    float score = 0;
  };
  std::vector<Piece> pieces;  ///< the normal ones, in the order of their ids
  std::string
      character_map;  ///< bytes of the trie (u32), the trie (a Darts double array), replacement texts; may be empty
};

/// sentencepiece's normalizer: at each place the longest text that the character map knows is replaced, runs of spaces
/// become one U+2581, and one stands before the first character.
class PieceNormalizer {
 public:
  /// `character_map` must stay inside itself (`check_character_map`).
  explicit PieceNormalizer(std::string character_map);

  /// `text` must be valid UTF-8.
  std::string normalize(std::string_view text) const;

 private:
  std::string_view next(std::string_view text, std::size_t& consumed) const;

  std::string map_;
  std::size_t units_ = 0;  // of the trie
};

/// The most likely way to cut a normalized text into pieces (Kudo 2018), by one pass of Viterbi's algorithm. Every
/// character that no piece covers costs ten more than the rarest piece. As sentencepiece computes it, in f32.
class UnigramSegmenter {
 public:
  explicit UnigramSegmenter(const std::vector<PieceModel::Piece>& pieces);

  static constexpr std::int32_t unknown = -1;

  /// Positions of pieces, `unknown` for each run of characters that have none. O(length * longest match * log pieces).
  std::vector<std::int32_t> segment(std::string_view text) const;

 private:
  struct Entry {
    std::string_view text;
    std::int32_t place;
    float score;
  };
  std::string texts_;
  std::vector<Entry> sorted_;
  std::array<std::uint32_t, 257> first_{};  // where the entries with each first byte begin
  float unknown_score_ = 0;
};

}  // namespace promptcache::text
