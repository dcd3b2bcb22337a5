#include "text/word_cutter.hpp"

#include "text/characters.hpp"

namespace promptcache::text {
namespace {

bool is_line_end(char32_t c) { return c == '\r' || c == '\n'; }

bool is_other(char32_t c) { return !is_white_space(c) && !is_letter(c) && !is_number(c); }

/// Code points from the start that are of a kind.
template <class Kind>
std::size_t run(std::u32string_view text, Kind kind) {
  std::size_t length = 0;
  while (length < text.size() && kind(text[length])) ++length;
  return length;
}

/// 's 't 're 've 'm 'll 'd at the start, or 0.
std::size_t contraction(std::u32string_view text, bool any_case) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const auto lower = [&](char32_t c) -> char32_t {
    if (!any_case) return c;
    if (c == 0x17F) return 's';  // the long s folds to it
    return c >= 'A' && c <= 'Z' ? c + 32 : c;
  };
  const char32_t first = lower(text[1]);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (text.size() < 3) return 0;
  const char32_t second = lower(text[2]);
  const bool two =
      (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
  return two ? 3 : 0;
}

/// A kind of characters, with a space in front if there is one; 0 when there are none of the kind.
template <class Kind>
std::size_t with_space(std::u32string_view text, Kind kind) {
  const std::size_t space = text[0] == ' ' ? 1 : 0;
  const std::size_t length = run(text.substr(space), kind);
  return length > 0 ? space + length : 0;
}

/// White space at the start, but for the last one if it is before something: that may go with what follows.
std::size_t white_space(std::u32string_view text) {
  const std::size_t length = run(text, is_white_space);
  return length > 1 && length < text.size() ? length - 1 : length;
}

std::size_t first_of_gpt2(std::u32string_view text) {
  if (const std::size_t length = contraction(text, false)) return length;
  if (const std::size_t length = with_space(text, is_letter)) return length;
  if (const std::size_t length = with_space(text, is_number)) return length;
  if (const std::size_t length = with_space(text, is_other)) return length;
  return white_space(text);
}

std::size_t first_of_llama3(std::u32string_view text) {
  if (const std::size_t length = contraction(text, true)) return length;
  const char32_t first = text[0];
  const std::size_t before = is_letter(first) || is_number(first) || is_line_end(first) ? 0 : 1;
  if (const std::size_t length = run(text.substr(before), is_letter)) return before + length;
  if (const std::size_t length = run(text.substr(0, 3), is_number)) return length;
  if (const std::size_t length = with_space(text, is_other)) return length + run(text.substr(length), is_line_end);
  const std::size_t spaces = run(text, is_white_space);
  for (std::size_t length = spaces; length > 0; --length) {
    if (is_line_end(text[length - 1])) return length;
  }
  return white_space(text);
}

void cut_gpt2(std::u32string_view text, std::vector<std::size_t>& lengths) {
  while (!text.empty()) {
    lengths.push_back(first_of_gpt2(text));
    text.remove_prefix(lengths.back());
  }
}

}  // namespace

std::vector<std::size_t> cut_words(std::u32string_view text, WordCut cut) {
  std::vector<std::size_t> lengths;
  if (cut == WordCut::gpt2) {
    cut_gpt2(text, lengths);
  } else if (cut == WordCut::llama3) {
    while (!text.empty()) {
      lengths.push_back(first_of_llama3(text));
      text.remove_prefix(lengths.back());
    }
  } else {
    while (!text.empty()) {
      // What stands between digits is cut as if it were a text by itself.
      const std::size_t between = run(text, [](char32_t c) { return !is_number(c); });
      cut_gpt2(text.substr(0, between), lengths);
      text.remove_prefix(between);
      if (text.empty()) break;
      lengths.push_back(1);
      text.remove_prefix(1);
    }
  }
  return lengths;
}

}  // namespace promptcache::text
