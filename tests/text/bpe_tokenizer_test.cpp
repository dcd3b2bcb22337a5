#include "promptcache/text/bpe_tokenizer.hpp"

#include <map>

#include "base/base64.hpp"
#include "golden.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/gguf.hpp"
#include "text/bpe.hpp"
#include "text/utf8.hpp"

namespace {

using namespace promptcache;
using Ids = std::vector<std::int32_t>;

std::string file_of(const std::string& name) { return test::data_file("tiny_bpe_" + name + ".json"); }

/// The texts of the golden ids.
std::vector<std::string> golden_texts(const nlohmann::json& golden) {
  const auto all = test::golden_json("tokenizer_texts.json.gz");
  std::vector<std::string> texts;
  const auto stride = golden["stride"].get<std::size_t>();
  for (std::size_t i = 0; i < all.size(); i += i < 20 ? 1 : stride) {
    texts.push_back(*from_base64(all[i].get<std::string>()));
  }
  for (const auto& text : golden["more"]) texts.push_back(text.get<std::string>());
  return texts;
}

/// Invalid sequences as U+FFFD.
std::string repaired(const std::string& text) {
  std::string result;
  for (const char32_t c : text::decode_utf8(text)) text::append_utf8(result, c);
  return result;
}

/// The file with something in it changed.
std::string changed(const test::TemporaryDirectory& directory, const std::string& pointer,
                    const nlohmann::json& value) {
  auto json = nlohmann::json::parse(read_file(file_of("gpt2")));
  json[nlohmann::json::json_pointer(pointer)] = value;
  return directory.write("tokenizer.json", json.dump());
}

}  // namespace

TEST_CASE("BPE: ids of the tokenizers library, for the words of each kind, and back to the text") {
  const auto golden = test::golden_json("tiny_bpe_ids.json.gz");
  const std::vector<std::string> texts = golden_texts(golden);
  for (const std::string name : {"gpt2", "llama3", "smollm"}) {
    const auto tokenizer = BpeTokenizer::open(file_of(name));
    REQUIRE(golden[name].size() == texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      INFO(name << ", text " << i << ": " << texts[i].substr(0, 60));
      const Ids ids = tokenizer->encode(texts[i]);
      REQUIRE(ids == golden[name][i].get<Ids>());
      REQUIRE(tokenizer->decode(ids) == repaired(texts[i]));
    }
  }
}

TEST_CASE("BPE: special tokens come from their names, never from text") {
  const auto tokenizer = BpeTokenizer::open(file_of("gpt2"));
  const std::optional<std::int32_t> end = tokenizer->special("<|end|>");
  REQUIRE(end);
  CHECK(*end == 0);
  CHECK(tokenizer->is_special(*end));
  CHECK_FALSE(tokenizer->is_special(5));
  CHECK_FALSE(tokenizer->is_special(-1));
  CHECK_FALSE(tokenizer->special("the"));
  const Ids ids = tokenizer->encode("a<|end|>b");
  for (const std::int32_t id : ids) CHECK_FALSE(tokenizer->is_special(id));
  CHECK(tokenizer->decode(ids) == "a<|end|>b");
  CHECK(tokenizer->decode(Ids{*end, ids[0]}) == "a");
  CHECK(tokenizer->decode(Ids{*end, ids[0]}, true) == "<|end|>a");
  test::require_error(ErrorCode::usage, {"token id 700", "0 to 699"}, [&] { tokenizer->decode(Ids{700}); });
}

TEST_CASE("BPE: the leftmost pair of the lowest rank is merged first") {
  std::array<std::int32_t, 256> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::int32_t>(i);
  text::Bpe bpe(bytes);
  bpe.add_merge('b', 'c', 300);
  bpe.add_merge('a', 'a', 301);
  bpe.add_merge('a', 'b', 302);
  bpe.add_merge(301, 301, 303);
  bpe.add_merge('b', 'c', 999);  // comes too late
  const auto encoded = [&](const std::string& word) {
    Ids ids;
    bpe.encode(word, ids);
    return ids;
  };
  CHECK(encoded("") == Ids{});
  CHECK(encoded("abc") == Ids{'a', 300});
  CHECK(encoded("aaa") == Ids{301, 'a'});
  CHECK(encoded("aaaaa") == Ids{303, 'a'});
  CHECK(encoded("aab") == Ids{301, 'b'});
  CHECK(encoded("ab") == Ids{302});
  CHECK(encoded("xbcbc") == Ids{'x', 300, 300});

  bytes['y'] = -1;  // a byte without a token: left out, and nothing is merged across it
  text::Bpe lacking(bytes);
  lacking.add_merge('a', 'b', 302);
  Ids ids;
  lacking.encode("yabyaybyy", ids);
  CHECK(ids == Ids{302, 'a', 'b'});
}

TEST_CASE("BPE: a vocabulary in a GGUF file is the same tokenizer") {
  // Written as a file with nothing but the tokenizer's metadata.
  const auto json = nlohmann::json::parse(read_file(file_of("smollm")));
  std::map<std::int64_t, std::string> tokens;
  for (const auto& [token, id] : json["model"]["vocab"].items()) tokens[id.get<std::int64_t>()] = token;
  std::string bytes = "GGUF";
  const auto add = [&](auto value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  const auto add_text = [&](const std::string& text) {
    add(std::uint64_t{text.size()});
    bytes += text;
  };
  const auto add_key = [&](const std::string& key, std::uint32_t type) {
    add_text(key);
    add(type);
  };
  add(std::uint32_t{3});
  add(std::uint64_t{0});
  add(std::uint64_t{5});
  add_key("tokenizer.ggml.model", 8);
  add_text("gpt2");
  add_key("tokenizer.ggml.pre", 8);
  add_text("smollm");
  add_key("tokenizer.ggml.tokens", 9);
  add(std::uint32_t{8});
  add(std::uint64_t{tokens.size()});
  for (const auto& [id, token] : tokens) add_text(token);
  add_key("tokenizer.ggml.token_type", 9);
  add(std::uint32_t{5});
  add(std::uint64_t{tokens.size()});
  for (const auto& [id, token] : tokens) add(std::int32_t{id < 2 ? 3 : 1});
  add_key("tokenizer.ggml.merges", 9);
  add(std::uint32_t{8});
  const auto& merges = json["model"]["merges"];
  add(std::uint64_t{merges.size()});
  for (const auto& merge : merges) {
    add_text(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  const test::TemporaryDirectory directory;
  const auto from_gguf = BpeTokenizer::from_gguf(GgufFile::open(directory.write("model.gguf", bytes)));
  const auto from_json = BpeTokenizer::open(file_of("smollm"));
  CHECK(from_gguf->vocabulary_size() == from_json->vocabulary_size());
  CHECK(from_gguf->special("<|begin|>") == from_json->special("<|begin|>"));
  CHECK(from_gguf->identity() == from_json->identity());
  CHECK(from_gguf->identity() != BpeTokenizer::open(file_of("gpt2"))->identity());
  for (const std::string text : {"the password is 12345", "return  x;\n\n"}) {
    CHECK(from_gguf->encode(text) == from_json->encode(text));
  }
  test::require_error(ErrorCode::not_found, {"tiny.gguf", "tokenizer.ggml.model"},
                      [] { BpeTokenizer::from_gguf(GgufFile::open(test::data_file("tiny.gguf"))); });
}

TEST_CASE("BPE: a tokenizer that does anything else is refused by the name of the part") {
  const test::TemporaryDirectory directory;
  const auto refused = [&](ErrorCode code, std::initializer_list<std::string> pieces, const std::string& pointer,
                           const nlohmann::json& value) {
    test::require_error(code, pieces, [&] { BpeTokenizer::open(changed(directory, pointer, value)); });
  };
  refused(ErrorCode::unsupported, {"tokenizer.json", "model type \"WordPiece\""}, "/model/type", "WordPiece");
  refused(ErrorCode::unsupported, {"normalizer", "NFC"}, "/normalizer", {{"type", "NFC"}});
  refused(ErrorCode::unsupported, {"pre_tokenizer", "Metaspace"}, "/pre_tokenizer", {{"type", "Metaspace"}});
  refused(ErrorCode::unsupported, {"pre_tokenizer"}, "/pre_tokenizer/add_prefix_space", true);
  refused(ErrorCode::unsupported, {"dropout"}, "/model/dropout", 0.1);
  refused(ErrorCode::unsupported, {"byte_fallback"}, "/model/byte_fallback", true);
  refused(ErrorCode::unsupported, {"'<|end|>' that is not special"}, "/added_tokens/0/special", false);
  refused(ErrorCode::format, {"id 5 for", "'twice'"}, "/model/vocab/twice", 5);
  refused(ErrorCode::format, {"token id -1"}, "/model/vocab/below", -1);
  refused(ErrorCode::format, {"characters that stand for bytes"}, "/model/vocab/中", 700);
  refused(ErrorCode::format, {"merge", "two tokens"}, "/model/merges/0", "alone");
  refused(ErrorCode::format, {"a merge of 'x' and 'zzzz'"}, "/model/merges/0", {"x", "zzzz"});
  refused(ErrorCode::format, {"without vocab or merges"}, "/model/merges", nullptr);
  test::require_error(ErrorCode::format, {"no JSON"}, [&] { BpeTokenizer::open(directory.write("t.json", "{")); });
  test::require_error(ErrorCode::not_found, {"none.json"}, [&] { BpeTokenizer::open(directory.file("none.json")); });
  auto json = nlohmann::json::parse(read_file(file_of("gpt2")));
  json["model"]["vocab"].erase("!");
  test::require_error(ErrorCode::format, {"no token for byte 33"},
                      [&] { BpeTokenizer::open(directory.write("t.json", json.dump())); });
}
