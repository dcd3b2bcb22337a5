#include "text/utf8.hpp"

#include "support.hpp"

using promptcache::text::append_utf8;
using promptcache::text::decode_utf8;

TEST_CASE("every code point survives encoding and decoding") {
  std::string bytes;
  std::u32string wanted;
  for (char32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 61) {
    if (c >= 0xD800 && c < 0xE000) continue;
    append_utf8(bytes, c);
    wanted += c;
  }
  CHECK(decode_utf8(bytes) == wanted);
}

TEST_CASE("each maximal invalid sequence is one replacement character") {
  CHECK(decode_utf8("\xff") == U"\uFFFD");
  CHECK(decode_utf8("a\xe2\x82z") == U"a\uFFFDz");                        // a sequence cut short
  CHECK(decode_utf8("\xed\xa0\x80") == U"\uFFFD\uFFFD\uFFFD");            // a surrogate
  CHECK(decode_utf8("\xc0\xaf") == U"\uFFFD\uFFFD");                      // an overlong form
  CHECK(decode_utf8("\xf4\x90\x80\x80") == U"\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  CHECK(decode_utf8("\xf0\x9f\x98") == U"\uFFFD");                        // at the end of the text
}
