#include "policy/guards/words.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/utf8.hpp"

namespace promptcache::guards {
namespace {

bool is_vowel(char c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y'; }

bool has_vowel(std::string_view text) { return std::any_of(text.begin(), text.end(), is_vowel); }

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

char32_t plain(char32_t c) {
  switch (c) {
    case 0x2018:
    case 0x2019:
    case 0x201A:
    case 0x201B:
    case 0x02BC:
    case 0x2032: return '\'';
    case 0x201C:
    case 0x201D:
    case 0x201E:
    case 0x201F:
    case 0x00AB:
    case 0x00BB:
    case 0x300C:
    case 0x300D:
    case 0x300E:
    case 0x300F: return '"';
    case 0x2010:
    case 0x2011:
    case 0x2012:
    case 0x2013:
    case 0x2014:
    case 0x2015:
    case 0x2212: return '-';
    case 0x2044: return '/';
    case 0x00D7: return '*';
    case 0x00F7: return '/';
    case 0x3002:
    case 0x0964: return '.';
    case 0x3001:
    case 0x060C: return ',';
    case 0x061F: return '?';
    case 0x2028:
    case 0x2029:
    case 0x85: return '\n';
    default: return c;
  }
}

/// The value of a decimal digit of any script: ranges of digits start at a code point that ends in 0 or 6.
char32_t digit_of(char32_t c) {
  const auto aligned = static_cast<utf8proc_int32_t>(c & ~char32_t{0xF});
  const char32_t low = c & 0xF;
  const char32_t value = utf8proc_category(aligned) == UTF8PROC_CATEGORY_ND ? low : low - 6;
  return value <= 9 ? U'0' + value : U' ';
}

/// What stands for a decomposed code point in normalised text; 0 for nothing.
char32_t simplified(char32_t c) {
  c = plain(c);
  if (c < 0x80) return c == 0x7F ? U' ' : c;
  if (c >= 0x300 && c <= 0x36F) return 0;  // accents
  if (c == text::replacement_character) return U' ';
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
    case UTF8PROC_CATEGORY_SC: return c;
    case UTF8PROC_CATEGORY_ND: return digit_of(c);
    case UTF8PROC_CATEGORY_CF: return 0;
    default: return c == 0xB0 ? c : U' ';  // the degree sign
  }
}

}  // namespace

bool stem_of(std::string_view word, Stem& stem) noexcept {
  if (word.size() < 4 || word.size() > sizeof stem.text) return false;
  for (const char c : word) {
    if (c < 'a' || c > 'z') return false;
  }
  std::memcpy(stem.text, word.data(), word.size());
  stem.size = word.size();
  const auto view = [&] { return stem.view(); };
  if (ends_with(view(), "ies") && stem.size > 4) {
    stem.size -= 2;
    stem.text[stem.size - 1] = 'y';
  } else if (ends_with(view(), "s") && !ends_with(view(), "ss") && !ends_with(view(), "us") &&
             !ends_with(view(), "is")) {
    --stem.size;
  }
  if (ends_with(view(), "ied") && stem.size > 4) {
    stem.size -= 2;
    stem.text[stem.size - 1] = 'y';
  } else if (ends_with(view(), "ing") && stem.size >= 6 && has_vowel(view().substr(0, stem.size - 3))) {
    stem.size -= 3;
  } else if (ends_with(view(), "ed") && !ends_with(view(), "eed") && stem.size >= 5 &&
             has_vowel(view().substr(0, stem.size - 2))) {
    stem.size -= 2;
  }
  if (stem.size >= 4 && stem.text[stem.size - 1] == stem.text[stem.size - 2] && !is_vowel(stem.text[stem.size - 1])) {
    --stem.size;
  }
  if (stem.size >= 4 && stem.text[stem.size - 1] == 'e') --stem.size;
  return view() != word;
}

bool nearly_equal(std::string_view a, std::string_view b) noexcept {
  if (a == b) return true;
  if (a.size() > b.size()) std::swap(a, b);
  if (a.size() < 4 || b.size() > 40) return false;
  const std::size_t allowed = a.size() >= 9 ? 2 : 1;
  if (b.size() - a.size() > allowed) return false;
  for (const char c : b) {
    if (c >= '0' && c <= '9') return false;  // another number is no typing mistake
  }
  if (allowed == 1) {
    std::size_t begin = 0;
    while (begin < a.size() && a[begin] == b[begin]) ++begin;
    if (begin == 0) return false;  // few mistakes are in the first letter, and other words are one letter away
    const std::string_view rest_a = a.substr(begin);
    const std::string_view rest_b = b.substr(begin);
    if (rest_a.size() < rest_b.size()) return rest_a == rest_b.substr(1);
    if (rest_a.substr(1) == rest_b.substr(1)) return a.size() >= 6;  // "horse" and "house"
    return rest_a.size() >= 2 && rest_a[0] == rest_b[1] && rest_a[1] == rest_b[0] &&
           rest_a.substr(2) == rest_b.substr(2);
  }
  if (a[0] != b[0]) return false;
  std::array<std::array<std::size_t, 41>, 3> rows{};  // the optimal string alignment distance
  for (std::size_t j = 0; j <= b.size(); ++j) rows[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i + 2) % 3];
    const auto& second = rows[(i + 1) % 3];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = a[i - 1] == b[j - 1];
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], second[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()] <= allowed;
}

void normalize(std::string_view bytes, std::string& out) {
  const bool ascii = std::none_of(bytes.begin(), bytes.end(), [](char c) { return (c & 0x80) != 0; });
  if (ascii) {
    out.append(bytes);
    return;
  }
  std::array<utf8proc_int32_t, 32> parts{};
  for (const char32_t c : text::decode_utf8(bytes)) {
    if (c < 0x80) {
      out += static_cast<char>(c);
      continue;
    }
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(),
                                static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT), &boundary);
    for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, parts.size()); ++i) {
      const char32_t simple = simplified(static_cast<char32_t>(parts[static_cast<std::size_t>(i)]));
      if (simple != 0) text::append_utf8(out, simple);
    }
  }
}

void append_folded(std::string& out, std::string_view text, bool ascii) {
  if (ascii) {
    for (const char c : text) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return;
  }
  std::array<utf8proc_int32_t, 8> parts{};
  for (const char32_t c : text::decode_utf8(text)) {
    int boundary = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(),
                                static_cast<utf8proc_option_t>(UTF8PROC_CASEFOLD), &boundary);
    for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, parts.size()); ++i) {
      text::append_utf8(out, static_cast<char32_t>(parts[static_cast<std::size_t>(i)]));
    }
  }
}

std::string_view shortened(std::string_view text, std::size_t limit) noexcept {
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  while (end > 0 && limit - end < 4 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end);
}

}  // namespace promptcache::guards
