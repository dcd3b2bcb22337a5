#pragma once

#include <optional>
#include <string>
#include <vector>

#include "promptcache/reuse/chat_tags.hpp"
#include "reuse/pml_reader.hpp"

namespace promptcache::reuse {

/// Texts and chat tags that stand beside each other, on their way to one `Text`.
class TextParts {
 public:
  explicit TextParts(const ChatTags& chat) : chat_(chat) {}

  /// Takes a text or a chat tag; false for anything else.
  bool take(const Token& token);

  /// What was taken since the last call; nothing when only white space with a line end was, or nothing. A run of white
  /// space at either end becomes one space, or nothing where `strip` or beside a chat tag.
  std::optional<Text> finish(bool strip = false);

 private:
  struct Part {
    std::vector<Piece> tags;  // of the template; none: text
    std::string text;
  };
  const ChatTags& chat_;
  std::vector<Part> parts_;
  Place place_;
};

}  // namespace promptcache::reuse
