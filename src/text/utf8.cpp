#include "text/utf8.hpp"

#include <cstddef>

namespace promptcache::text {
namespace {

/// What a lead byte demands: how many bytes follow, and the range of the first of them.
struct Lead {
  std::size_t following;
  unsigned char low;
  unsigned char high;
};

Lead lead_of(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};  // no overlong forms
  if (byte == 0xED) return {2, 0x80, 0x9F};  // no surrogates
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};  // nothing above U+10FFFF
  return {0, 0, 0};
}

}  // namespace

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string result;
  result.reserve(bytes.size());
  std::size_t i = 0;
  while (i < bytes.size()) {
    const auto byte = static_cast<unsigned char>(bytes[i++]);
    if (byte < 0x80) {
      result += byte;
      continue;
    }
    const Lead lead = lead_of(byte);
    char32_t value = byte & (0x3FU >> lead.following);
    std::size_t taken = 0;
    for (; taken < lead.following && i < bytes.size(); ++taken, ++i) {
      const auto next = static_cast<unsigned char>(bytes[i]);
      const bool fits = taken == 0 ? next >= lead.low && next <= lead.high : (next & 0xC0U) == 0x80U;
      if (!fits) break;
      value = (value << 6) | (next & 0x3FU);
    }
    result += lead.following > 0 && taken == lead.following ? value : replacement_character;
  }
  return result;
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code_point >> shift) & 0x3F)); };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xC0 | (code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xE0 | (code_point >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | (code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace promptcache::text
