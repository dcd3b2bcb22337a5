#include "text/bert_normalizer.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "text/characters.hpp"
#include "text/unicode_exceptions.hpp"
#include "text/utf8.hpp"

namespace promptcache::text {
namespace {

bool in(std::span<const CodePointRange> ranges, char32_t c) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}

const CodePointMapping* find(std::span<const CodePointMapping> mappings, char32_t c) {
  const auto place =
      std::lower_bound(mappings.begin(), mappings.end(), c,
                       [](const CodePointMapping& mapping, char32_t value) { return mapping.from < value; });
  return place != mappings.end() && place->from == c ? &*place : nullptr;
}

bool is_removed_control(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  if (c < 0x80) return c < 0x20 || c == 0x7F;
  if (c == replacement_character) return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CO: return true;
    case UTF8PROC_CATEGORY_CF: return !in(kept_format, c);
    default: return false;
  }
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
  switch (category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return !in(plain_punctuation, c);
    default: return in(extra_punctuation, c);
  }
}

/// The blocks that BERT's authors counted as Chinese; 0x2B920 instead of 0x2B820 is the tokenizers package's own.
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_accent(char32_t c) {
  if (c < 0x300) return false;
  return category(c) == UTF8PROC_CATEGORY_MN ? !in(kept_marks, c) : in(extra_marks, c);
}

void append_decomposed(std::u32string& out, char32_t c) {
  if (c < 0xC0) {
    out += c;
    return;
  }
  if (const CodePointMapping* mapping = find(decompositions, c)) {
    for (char32_t part : mapping->to) {
      if (part != 0) out += part;
    }
    return;
  }
  std::array<utf8proc_int32_t, 32> parts{};
  int boundary = 0;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);
  const utf8proc_ssize_t count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(), options, &boundary);
  for (utf8proc_ssize_t i = 0; i < count; ++i) out += static_cast<char32_t>(parts[static_cast<std::size_t>(i)]);
}

int combining_class(char32_t c) {
  if (c < 0x300 || in(starters, c)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

/// Canonical order: runs of non-starters sorted by combining class, stably.
void order_marks(std::u32string& text) {
  for (std::size_t begin = 0; begin < text.size();) {
    if (combining_class(text[begin]) == 0) {
      ++begin;
      continue;
    }
    std::size_t end = begin + 1;
    while (end < text.size() && combining_class(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

std::u32string cleaned(const std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (char32_t c : text) {
    if (is_removed_control(c)) continue;
    result += is_white_space(c) ? U' ' : c;
  }
  return result;
}

std::u32string with_spaced_chinese(const std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (char32_t c : text) {
    if (is_chinese(c)) {
      result += {U' ', c, U' '};
    } else {
      result += c;
    }
  }
  return result;
}

std::u32string without_accents(const std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (char32_t c : text) append_decomposed(result, c);
  order_marks(result);
  result.erase(std::remove_if(result.begin(), result.end(), is_accent), result.end());
  return result;
}

std::u32string lower_cased(const std::u32string& text) {
  std::u32string result;
  result.reserve(text.size());
  for (char32_t c : text) {
    if (c < 0x80) {
      result += c >= 'A' && c <= 'Z' ? c + 32 : c;
    } else if (const CodePointMapping* mapping = find(lower_cases, c)) {
      for (char32_t part : mapping->to) {
        if (part != 0) result += part;
      }
    } else {
      result += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    }
  }
  return result;
}

}  // namespace

std::u32string normalize_bert(std::u32string text, const BertNormalization& steps) {
  if (steps.clean_text) text = cleaned(text);
  if (steps.handle_chinese_chars) text = with_spaced_chinese(text);
  if (steps.strip_accents) text = without_accents(text);
  if (steps.lowercase) text = lower_cased(text);
  return text;
}

std::vector<std::u32string_view> split_bert(const std::u32string& text) {
  std::vector<std::u32string_view> words;
  const std::u32string_view view = text;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= view.size(); ++i) {
    const bool at_end = i == view.size();
    const bool punctuation = !at_end && is_punctuation(view[i]);
    if (!at_end && !punctuation && !is_white_space(view[i])) continue;
    if (i > begin) words.push_back(view.substr(begin, i - begin));
    if (punctuation) words.push_back(view.substr(i, 1));
    begin = i + 1;
  }
  return words;
}

}  // namespace promptcache::text
