#include <algorithm>
#include <cstddef>

#include "policy/guards/characters.hpp"

namespace promptcache::guards {
namespace {

bool is_arithmetic(std::string_view chunk) {
  const auto is_operand = [&](std::size_t i) { return (class_of(chunk[i]) & (word | bracket)) != 0; };
  std::size_t letters = 0;
  bool operation = false;
  for (std::size_t i = 0; i < chunk.size(); ++i) {
    letters = (class_of(chunk[i]) & letter) != 0 ? letters + 1 : 0;
    if (letters > 1) return false;
    const bool inside = i > 0 && i + 1 < chunk.size();
    // Operands on both sides: C++17 is a name.
    operation =
        operation || (inside && (class_of(chunk[i]) & arithmetic) != 0 && is_operand(i - 1) && is_operand(i + 1));
  }
  return operation;
}

/// node.js, example.com, config.yaml, but neither "e.g." nor two sentences without a blank.
bool has_extension(std::string_view chunk) {
  const std::size_t point = chunk.rfind('.');
  if (point == std::string_view::npos || point < 2 || chunk.size() - point < 3 || chunk.size() - point > 6)
    return false;
  if ((class_of(chunk[0]) & letter) == 0) return false;
  for (std::size_t i = 0; i < point; ++i) {
    if ((class_of(chunk[i]) & (word | period | hyphen | joiner)) == 0) return false;
  }
  if ((class_of(chunk[point + 1]) & lower) == 0 || (class_of(chunk[point - 1]) & word) == 0) return false;
  for (std::size_t i = point + 1; i < chunk.size(); ++i) {
    if ((class_of(chunk[i]) & (lower | digit)) == 0) return false;
  }
  return true;
}

bool is_camel_case(std::string_view chunk) {
  std::size_t i = 0;
  while (i < chunk.size() && (class_of(chunk[i]) & lower) != 0) ++i;
  if (i < 2 || i + 1 >= chunk.size()) return false;
  return (class_of(chunk[i]) & upper) != 0 && (class_of(chunk[i + 1]) & lower) != 0 &&
         std::all_of(chunk.begin(), chunk.end(), [](char c) { return (class_of(c) & (word | bracket)) != 0; });
}

bool has_inner_underscore(std::string_view chunk) {
  for (std::size_t i = 1; i + 1 < chunk.size(); ++i) {
    if (chunk[i] == '_' && (class_of(chunk[i - 1]) & word) != 0 && (class_of(chunk[i + 1]) & word) != 0) return true;
  }
  return false;
}

/// URLs, paths, e-mail addresses, qualified names.
bool has_joined_parts(std::string_view chunk) {
  const auto has = [&](std::string_view piece) { return chunk.find(piece) != std::string_view::npos; };
  if (has("://") || has("::") || has("\\") || has_inner_underscore(chunk)) return true;
  const std::size_t mail = chunk.find('@');
  if (mail != std::string_view::npos && mail > 0 && chunk.find('.', mail) != std::string_view::npos) return true;
  const bool rooted =
      chunk[0] == '/' || chunk.substr(0, 2) == "~/" || chunk.substr(0, 2) == "./" || chunk.substr(0, 3) == "../";
  if (rooted && chunk.size() > 2 && (class_of(chunk.back()) & (word | joiner)) != 0) return true;
  return (class_of(chunk[0]) & digit) == 0 && std::count(chunk.begin(), chunk.end(), '/') >= 2;
}

bool is_flag(std::string_view chunk) {
  if (chunk[0] != '-') return false;
  if (chunk.size() == 2) return (class_of(chunk[1]) & letter) != 0;
  return chunk.size() > 3 && chunk[1] == '-' && (class_of(chunk[2]) & letter) != 0;
}

}  // namespace

bool looks_like_code(std::string_view run) noexcept {
  if (run.size() < 2) return false;
  std::uint16_t kinds = 0;
  for (const char c : run) kinds |= class_of(c);
  if ((kinds & joiner) != 0 && has_joined_parts(run)) return true;
  if ((kinds & bracket) != 0 && run.find("()") != std::string_view::npos) return true;
  if ((kinds & hyphen) != 0 && is_flag(run)) return true;
  if ((kinds & arithmetic) != 0) {
    for (const std::string_view piece : {"=>", "->", "=="}) {
      if (run.find(piece) != std::string_view::npos) return true;
    }
    if ((kinds & digit) != 0 && is_arithmetic(run)) return true;
  }
  return ((kinds & period) != 0 && has_extension(run)) || is_camel_case(run);
}

}  // namespace promptcache::guards
