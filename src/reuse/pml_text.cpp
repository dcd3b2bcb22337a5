#include "reuse/pml_text.hpp"

#include <algorithm>
#include <utility>

#include "reuse/characters.hpp"

namespace promptcache::reuse {
namespace {

/// With a run of white space at the start, and at the end, made one space or dropped.
std::string trimmed(const std::string& text, bool drop_first, bool drop_last) {
  const std::size_t begin = text.find_first_not_of(white_space);
  if (begin == std::string::npos) {
    const bool kept = !text.empty() && !drop_first && !drop_last && text.find('\n') == std::string::npos;
    return kept ? " " : "";
  }
  const std::size_t end = text.find_last_not_of(white_space) + 1;
  std::string result = text.substr(begin, end - begin);
  if (begin > 0 && !drop_first) result.insert(0, " ");
  if (end < text.size() && !drop_last) result += ' ';
  return result;
}

}  // namespace

bool TextParts::take(const Token& token) {
  if (token.kind == Token::Kind::end) return false;
  Part part;
  if (token.kind == Token::Kind::text) {
    part.text = token.text;
  } else {
    const RoleTags* role = token.text == "system"      ? &chat_.system
                           : token.text == "user"      ? &chat_.user
                           : token.text == "assistant" ? &chat_.assistant
                                                       : nullptr;
    if (role == nullptr || !token.attributes.empty()) return false;
    part.tags = token.kind == Token::Kind::open ? role->open : role->close;
    if (token.empty) part.tags.insert(part.tags.end(), role->close.begin(), role->close.end());
    if (part.tags.empty()) part.tags.push_back({});  // still a tag
  }
  if (parts_.empty()) place_ = token.place;
  parts_.push_back(std::move(part));
  return true;
}

std::optional<Text> TextParts::finish(bool strip) {
  Text result;
  result.place = place_;
  const auto add = [&](const Piece& piece) {
    if (piece.text.empty()) return;
    if (!result.pieces.empty() && result.pieces.back().special == piece.special && !piece.special) {
      result.pieces.back().text += piece.text;
    } else {
      result.pieces.push_back(piece);
    }
  };
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    for (const Piece& tag : parts_[i].tags) add(tag);
    if (!parts_[i].tags.empty()) continue;
    add({trimmed(parts_[i].text, strip || i > 0, strip || i + 1 < parts_.size())});
  }
  parts_.clear();
  if (result.pieces.empty()) return {};
  return result;
}

}  // namespace promptcache::reuse
