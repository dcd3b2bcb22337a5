#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace promptcache::guards {

/// Hash of a word. Words of the two prompts are compared by it alone.
inline std::uint64_t hash_of(std::string_view text) noexcept {
  constexpr std::uint64_t k1 = 0x9E3779B97F4A7C15ULL;
  constexpr std::uint64_t k2 = 0xD6E8FEB86659FD93ULL;
  std::uint64_t h = k1 ^ (text.size() * k2);
  const auto take = [&h](std::uint64_t value) {
    h = (h ^ value) * k2;
    h ^= h >> 32;
    h *= k1;
    h ^= h >> 29;
  };
  while (text.size() >= 8) {
    std::uint64_t value = 0;
    std::memcpy(&value, text.data(), 8);
    take(value);
    text.remove_prefix(8);
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, text.data(), text.size());
  take(rest);
  return h;
}

/// Hash of a sequence of words, from that of the words before and the next one.
inline std::uint64_t hash_with_next(std::uint64_t before, std::uint64_t next) noexcept {
  const std::uint64_t h = (before * 0x9E3779B97F4A7C15ULL) ^ (next + 0x7F4A7C15ULL);
  return (h ^ (h >> 31)) * 0xD6E8FEB86659FD93ULL;
}

/// A word (lower case) without its English inflection: the same for "enable", "enables", "enabled" and "enabling". Not
/// always a word itself. At most one letter longer than a prefix of the word.
struct Stem {
  char text[32];
  std::size_t size = 0;

  std::string_view view() const noexcept { return {text, size}; }
};

/// Words longer than a `Stem` holds, with bytes that are not ASCII letters, or short keep their form; `changed` is
/// false then.
bool stem_of(std::string_view word, Stem& stem) noexcept;

/// Whether two words differ by no more than a typing mistake: one letter inserted, left out, replaced or two exchanged;
/// two of them in words of nine letters or more. Short words must be equal.
bool nearly_equal(std::string_view a, std::string_view b) noexcept;

/// NFKD without accents on Latin letters, with plain quotes and dashes, digits of all scripts as 0 to 9, other
/// punctuation as spaces; case is kept. Invalid UTF-8 counts as a space. Appends to `out`.
void normalize(std::string_view bytes, std::string& out);

/// Lower case of normalised text, appended to `out`; ASCII only when `ascii`.
void append_folded(std::string& out, std::string_view text, bool ascii);

/// The longest beginning of at most `limit` bytes that cuts no character.
std::string_view shortened(std::string_view text, std::size_t limit) noexcept;

}  // namespace promptcache::guards
