#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace promptcache::text {

constexpr char32_t replacement_character = 0xFFFD;

/// Code points of a text. Each maximal invalid sequence counts as one U+FFFD (the practice Unicode recommends, chapter
/// 3.9), so any bytes are accepted.
std::u32string decode_utf8(std::string_view bytes);

/// Appends one valid code point.
void append_utf8(std::string& out, char32_t code_point);

}  // namespace promptcache::text
