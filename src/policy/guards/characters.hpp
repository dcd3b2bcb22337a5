#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace promptcache::guards {

/// Classes of the bytes of a normalised text; all of a character that is not ASCII are letters.
enum CharacterClass : std::uint16_t {
  lower = 1,
  upper = 2,
  digit = 4,
  space = 8,
  high = 16,
  joiner = 32,  // _ @ \ / :
  period = 64,
  arithmetic = 128,  // + * = ^ < >
  hyphen = 256,
  bracket = 512,
  other = 1024,
  letter = lower | upper | high,
  word = letter | digit,
};

constexpr std::array<std::uint16_t, 256> make_classes() {
  std::array<std::uint16_t, 256> classes{};
  for (std::size_t c = 0; c < 256; ++c) {
    if (c >= 'a' && c <= 'z')
      classes[c] = lower;
    else if (c >= 'A' && c <= 'Z')
      classes[c] = upper;
    else if (c >= '0' && c <= '9')
      classes[c] = digit;
    else if (c <= ' ' || c == 0x7F)
      classes[c] = space;
    else if (c >= 0x80)
      classes[c] = high;
    else
      classes[c] = other;
  }
  for (const char c : {'_', '@', '\\', '/', ':'}) classes[static_cast<unsigned char>(c)] = joiner;
  for (const char c : {'+', '*', '=', '^', '<', '>'}) classes[static_cast<unsigned char>(c)] = arithmetic;
  for (const char c : {'(', ')', '[', ']', '{', '}'}) classes[static_cast<unsigned char>(c)] = bracket;
  classes['.'] = period;
  classes['-'] = hyphen;
  return classes;
}
inline constexpr std::array<std::uint16_t, 256> classes = make_classes();

inline std::uint16_t class_of(char c) noexcept { return classes[static_cast<unsigned char>(c)]; }

/// Whether a run without blanks, and without the punctuation around it, has the shape of code: an identifier, a flag, a
/// path, a URL, an e-mail address, arithmetic.
bool looks_like_code(std::string_view run) noexcept;

}  // namespace promptcache::guards
