#include "promptcache/base/digest.hpp"

#include "support.hpp"

using promptcache::Sha256;
using promptcache::sha256;

TEST_CASE("SHA-256 of the standard's own examples") {
  CHECK(sha256("").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("fields cannot be shifted into each other") {
  const auto digest = [](const char* a, const char* b) { return Sha256().field("x", a).field("y", b).finish(); };
  CHECK(digest("ab", "c") != digest("a", "bc"));
  CHECK(digest("ab", "") != digest("a", "b"));
  CHECK(digest("ab", "c") == digest("ab", "c"));
}

TEST_CASE("a file's digest is that of its bytes, and a missing file is named") {
  const test::TemporaryDirectory directory;
  CHECK(promptcache::sha256_file(directory.write("abc", "abc")) == sha256("abc"));
  test::require_error(promptcache::ErrorCode::not_found, {"nothing-here"},
                      [&] { promptcache::sha256_file(directory.file("nothing-here")); });
}
