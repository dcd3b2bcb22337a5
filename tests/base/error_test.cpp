#include "promptcache/base/error.hpp"

#include "support.hpp"

using promptcache::Error;
using promptcache::ErrorCode;

TEST_CASE("an error names the place, what was found and what was wanted") {
  const Error error(ErrorCode::format, {"pairs.tsv", 17}, "label 'maybe'", "a number in [0, 1]");
  CHECK(std::string(error.what()) == "pairs.tsv:17: found label 'maybe', wanted a number in [0, 1]");
  CHECK(error.code() == ErrorCode::format);
  CHECK(std::string(to_string(error.code())) == "format");
}

TEST_CASE("an error without a line or a place leaves them out") {
  CHECK(std::string(Error(ErrorCode::usage, {"k"}, "0", "at least 1").what()) == "k: found 0, wanted at least 1");
  CHECK(std::string(Error(ErrorCode::usage, {}, "0", "at least 1").what()) == "found 0, wanted at least 1");
}

TEST_CASE("a system error carries the text of errno") {
  test::require_error(ErrorCode::io, {"x.bin", "No space left"},
                      [] { throw promptcache::system_error({"x.bin"}, ENOSPC, "room"); });
}
