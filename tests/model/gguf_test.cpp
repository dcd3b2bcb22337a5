#include "promptcache/model/gguf.hpp"

#include <cstring>

#include "golden.hpp"
#include "promptcache/base/file.hpp"

namespace {

using namespace promptcache;
using Sizes = std::vector<std::size_t>;

template <class T>
void add(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void add_text(std::string& bytes, const std::string& text) {
  add(bytes, std::uint64_t{text.size()});
  bytes += text;
}

/// A header that claims these numbers of tensors and keys.
std::string header(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
  std::string bytes = "GGUF";
  add(bytes, version);
  add(bytes, tensors);
  add(bytes, keys);
  return bytes;
}

std::string tensor(const std::string& name, const Sizes& shape, std::uint32_t type, std::uint64_t offset) {
  std::string bytes;
  add_text(bytes, name);
  add(bytes, static_cast<std::uint32_t>(shape.size()));
  for (const std::size_t size : shape) add(bytes, std::uint64_t{size});
  add(bytes, type);
  add(bytes, offset);
  return bytes;
}

/// With zeros behind it, from the next multiple of 32 on.
std::string with_data(std::string bytes, std::size_t data) {
  bytes.resize((bytes.size() + 31) / 32 * 32 + data);
  return bytes;
}

void require_refused(const std::string& bytes, std::initializer_list<std::string> pieces,
                     ErrorCode code = ErrorCode::format) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("model.gguf", bytes);
  std::vector<std::string> all = {"model.gguf"};
  all.insert(all.end(), pieces.begin(), pieces.end());
  for (const std::string& piece : all) test::require_error(code, {piece}, [&] { GgufFile::open(path); });
}

}  // namespace

TEST_CASE("GGUF: values of every type are those of the reference, to the bit") {
  const GgufFile file = GgufFile::open(test::data_file("tiny.gguf"));
  const auto golden = test::golden_json("tiny_gguf_values.json.gz");
  CHECK(golden.size() == 8);
  for (const auto& [name, wanted] : golden.items()) {
    INFO(name);
    CHECK(gguf_type_name(file.tensors().at(name).type) == name);
    const std::vector<float> values = file.read_f32(name, Sizes{2, 512});
    REQUIRE(values.size() == wanted.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      INFO(i);
      REQUIRE(values[i] == wanted[i].get<float>());
    }
  }
}

TEST_CASE("GGUF: metadata of all kinds") {
  const GgufFile file = GgufFile::open(test::data_file("tiny.gguf"));
  CHECK(file.version() == 3);
  CHECK(file.text("general.architecture") == "llama");
  CHECK(file.text("test.text") ==
        "gr\xc3\xb6\xc3\x9f"
        "er");
  CHECK(file.number("test.count") == 7);
  CHECK(file.number("test.below") == -3);
  CHECK(file.number("test.share") == 0.25);
  CHECK(std::get<bool>(file.metadata().find("test.yes")->second));
  CHECK(file.number_or("test.none", 5) == 5);
  const auto words = file.array<std::string>("test.words");
  CHECK(std::vector<std::string>(words.begin(), words.end()) == std::vector<std::string>{"a", "", "b c"});
  CHECK(file.array<std::int64_t>("test.numbers")[1] == -2);
  CHECK(file.array<double>("test.none").empty());
  test::require_error(ErrorCode::not_found, {"tiny.gguf", "test.none"}, [&] { file.text("test.none"); });
  test::require_error(ErrorCode::format, {"test.count", "a text"}, [&] { file.text("test.count"); });
  test::require_error(ErrorCode::format, {"test.text", "a number"}, [&] { file.number("test.text"); });
  test::require_error(ErrorCode::format, {"test.words"}, [&] { file.array<double>("test.words"); });
}

TEST_CASE("GGUF: what is asked for must be there, of this shape and of a type that is read") {
  const GgufFile file = GgufFile::open(test::data_file("tiny.gguf"));
  test::require_error(ErrorCode::not_found, {"tiny.gguf", "'none'"}, [&] { file.read_f32("none", Sizes{1}); });
  test::require_error(ErrorCode::mismatch, {"'F16'", "[2, 512]", "[512, 2]"}, [&] {
    file.read_f32("F16", Sizes{512, 2});
  });
  test::require_error(ErrorCode::unsupported, {"'Q5_0'", "Q4_K"}, [&] { file.read_f32("Q5_0", Sizes{1, 32}); });
}

TEST_CASE("GGUF: a file that lies is refused by name") {
  require_refused("", {"0 bytes"});
  require_refused("GGUX12345678", {"does not begin with GGUF"});
  require_refused(header(0, 0, 1), {"version 1"}, ErrorCode::unsupported);
  require_refused(header(1'000'000'000'000, 0), {"1000000000000 tensors"});
  require_refused(header(0, 1), {"1 metadata keys"});
  {
    std::string bytes = header(0, 1);
    add(bytes, std::uint64_t{1} << 60);  // the length of a key
    require_refused(bytes + "12345", {"the end of the file in a metadata key"});
  }
  {
    std::string bytes = header(0, 1);
    add_text(bytes, "k");
    add(bytes, std::uint32_t{77});
    require_refused(bytes, {"type 77 of 'k'"});
  }
  {
    std::string bytes = header(0, 1);
    add_text(bytes, "k");
    add(bytes, std::uint32_t{9});
    add(bytes, std::uint32_t{9});  // arrays of arrays
    require_refused(bytes + std::string(8, '\0'), {"an array of type 9 in 'k'"});
  }
  {
    std::string bytes = header(0, 2);
    for (int i = 0; i < 2; ++i) {
      add_text(bytes, "k");
      add(bytes, std::uint32_t{7});
      bytes += '\1';
    }
    require_refused(bytes, {"'k' twice"});
  }
  require_refused(with_data(header(1, 0) + tensor("t", {32, 2}, 8, 0), 67), {"'t' of 68 bytes at 0", "67 bytes"});
  require_refused(with_data(header(1, 0) + tensor("t", {32}, 8, 8), 100), {"aligned to 32"});
  require_refused(with_data(header(1, 0) + tensor("t", {32}, 8, std::uint64_t{1} << 63), 100), {"a place inside"});
  require_refused(with_data(header(1, 0) + tensor("t", {31}, 8, 0), 100), {"shape [31]", "32 values for Q8_0"});
  require_refused(with_data(header(1, 0) + tensor("t", {16, 2}, 8, 0), 100), {"shape [2, 16]", "whole blocks"});
  require_refused(with_data(header(1, 0) + tensor("t", {std::size_t{1} << 62, 64}, 0, 0), 100), {"shape [64, "});
  require_refused(with_data(header(1, 0) + tensor("t", {1, 1, 1, 1, 1}, 0, 0), 100), {"5 dimensions of tensor 't'"});
  require_refused(with_data(header(2, 0) + tensor("t", {1}, 0, 0) + tensor("t", {1}, 0, 0), 32), {"'t' twice"});
}

TEST_CASE("GGUF: cut off anywhere, it is refused or has all its values") {
  const test::TemporaryDirectory directory;
  const std::string whole = read_file(test::data_file("tiny.gguf"));
  const std::string path = directory.file("cut.gguf");
  for (std::size_t size = 0; size < whole.size(); size += size < 700 ? 1 : 97) {
    write_file_atomically(path, whole.substr(0, size));
    CHECK_THROWS_AS(GgufFile::open(path), Error);
  }
}

TEST_CASE("GGUF: NaN weights are refused, and a type that is not known is named") {
  const test::TemporaryDirectory directory;
  std::string bytes = with_data(header(2, 0) + tensor("t", {1}, 0, 0) + tensor("u", {1}, 99, 0), 0);
  add(bytes, std::uint32_t{0x7fc00000});
  const GgufFile file = GgufFile::open(directory.write("nan.gguf", bytes));
  test::require_error(ErrorCode::numeric, {"nan.gguf", "'t'", "element 0"}, [&] { file.read_f32("t", Sizes{1}); });
  test::require_error(ErrorCode::unsupported, {"'u'", "type 99"}, [&] { file.read_f32("u", Sizes{1}); });
}
