#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace promptcache::text {

/// Tokens such as "[SEP]" that the fast tokenizers recognise in raw text, before any normalization.
class SpecialTokens {
 public:
  void add(std::string content, std::int32_t id);

  /// A piece of plain text (`id` is -1) or one special token.
  struct Segment {
    std::string_view text;
    std::int32_t id = -1;
  };

  /// Cuts a text at its special tokens, leftmost first, the longest of those that start at one place.
  std::vector<Segment> cut(std::string_view text) const;

 private:
  struct Token {
    std::string content;
    std::int32_t id;
  };
  std::vector<Token> tokens_;  // longest first
  std::string first_bytes_;
};

}  // namespace promptcache::text
