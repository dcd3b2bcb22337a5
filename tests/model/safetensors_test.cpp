#include "promptcache/model/safetensors.hpp"

#include <cstring>
#include <limits>

#include "promptcache/base/file.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using Sizes = std::vector<std::size_t>;

/// A file with this header text in front of this data.
std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

std::string entry(const std::string& type, const std::string& shape, const std::string& offsets) {
  return R"({"t":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

void require_refused(const std::string& bytes, std::initializer_list<std::string> pieces,
                     ErrorCode code = ErrorCode::format) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("w.safetensors", bytes);
  test::require_error(code, pieces, [&] { SafetensorsFile::open(path); });
}

}  // namespace

TEST_CASE("what is written is read back, and the same input gives the same bytes") {
  const test::TemporaryDirectory directory;
  const std::vector<float> a = {1.5F, -2, 3, 4, 5, 6};
  const std::vector<float> b = {7};
  const std::vector<NamedTensor> tensors = {{"a", {2, 3}, a}, {"b", {1}, b}};
  write_safetensors(directory.file("one"), tensors, {{"format", "pt"}});
  write_safetensors(directory.file("two"), tensors, {{"format", "pt"}});
  CHECK(read_file(directory.file("one")) == read_file(directory.file("two")));
  const SafetensorsFile file = SafetensorsFile::open(directory.file("one"));
  CHECK(file.metadata().at("format") == "pt");
  CHECK(file.tensors().size() == 2);
  CHECK(file.contains("b"));
  CHECK(file.read_f32("a", Sizes{2, 3}) == a);
  test::require_error(ErrorCode::mismatch, {"'a'", "[2, 3]", "[3, 2]"}, [&] { file.read_f32("a", Sizes{3, 2}); });
  test::require_error(ErrorCode::not_found, {"'c'"}, [&] { file.read_f32("c", Sizes{1}); });
}

TEST_CASE("halves are widened exactly, subnormals and signs included") {
  const test::TemporaryDirectory directory;
  const auto read = [&](const std::string& type, const std::string& bytes) {
    const std::string count = std::to_string(bytes.size() / 2);
    directory.write("h", file_of(entry(type, "[" + count + "]", "[0," + std::to_string(bytes.size()) + "]"), bytes));
    return SafetensorsFile::open(directory.file("h")).read_f32("t", Sizes{bytes.size() / 2});
  };
  CHECK(read("F16", std::string("\x00\x3c\x00\xc0\x01\x00\xff\x7b\x00\x80", 10)) ==
        std::vector<float>{1, -2, 5.9604644775390625e-8F, 65504, -0.0F});
  CHECK(read("BF16", std::string("\x80\x3f\x00\xc0", 4)) == std::vector<float>{1, -2});
  CHECK_THROWS_AS(read("F16", std::string("\x00\x7c", 2)), Error);  // infinity
}

TEST_CASE("NaN weights and integer weights are refused when read") {
  const test::TemporaryDirectory directory;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(directory.file("nan"), std::vector<NamedTensor>{{"t", {1}, {&nan, 1}}});
  test::require_error(ErrorCode::numeric, {"'t'", "nan", "element 0"},
                      [&] { SafetensorsFile::open(directory.file("nan")).read_f32("t", Sizes{1}); });
  directory.write("int", file_of(entry("I64", "[1]", "[0,8]"), std::string(8, '\0')));
  test::require_error(ErrorCode::unsupported, {"I64"},
                      [&] { SafetensorsFile::open(directory.file("int")).read_f32("t", Sizes{1}); });
}

TEST_CASE("a damaged file is refused when it is opened") {
  const std::string four(4, '\0');
  require_refused("", {"0 bytes"});
  require_refused("abc", {"3 bytes"});
  require_refused(file_of("", "").replace(0, 8, std::string("\0\0\0\0\0\0\0\x10", 8)),
                  {"1152921504606846976"});  // 2^60
  require_refused(file_of("{}", "").replace(0, 1, "\x7f"), {"127 bytes"});
  require_refused(file_of("not json", ""), {"JSON"});
  require_refused(file_of("[1]", ""), {"JSON"});
  require_refused(file_of(R"({"t":1})", ""), {"'t'", "dtype"});
  require_refused(file_of("{\"t\":" + std::string(300'000, '['), ""), {"nested"});
  require_refused(file_of(entry("F33", "[1]", "[0,4]"), four), {"F33"}, ErrorCode::unsupported);
  require_refused(file_of(entry("F32", "[-1]", "[0,4]"), four), {"-1"});
  require_refused(file_of(entry("F32", "[4611686018427387904, 16]", "[0,4]"), four), {"fits into memory"});
  require_refused(file_of(entry("F32", "[2]", "[0,4]"), four), {"8 for F32"});
  require_refused(file_of(entry("F32", "[1]", "[0,8]"), four), {"inside the 4 bytes"});
  require_refused(file_of(entry("F32", "[1]", "[4,0]"), four), {"data_offsets"});
  require_refused(file_of(entry("F32", "[1]", "[4,8]"), four + four), {"byte 0"});  // a hole
  require_refused(file_of(entry("F32", "[1]", "[0,4]"), four + "x"), {"5 bytes of data"});
  const std::string twice = R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                            R"("t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  require_refused(file_of(twice, four), {"'t' twice"});
  const std::string overlap = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                              R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})";
  require_refused(file_of(overlap, four + "xx"), {"'b'", "byte 2"});
}

TEST_CASE("a missing file and a directory are named") {
  const test::TemporaryDirectory directory;
  test::require_error(ErrorCode::not_found, {"none.safetensors"},
                      [&] { SafetensorsFile::open(directory.file("none.safetensors")); });
  test::require_error(ErrorCode::access, {"directory"}, [&] { SafetensorsFile::open(directory.path()); });
}
