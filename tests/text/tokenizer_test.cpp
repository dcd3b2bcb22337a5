#include "promptcache/text/tokenizer.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "golden.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

constexpr std::size_t no_limit = 1'000'000;

std::string from_base64(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned value = 0;
  int bits = 0;
  for (char c : text) {
    if (c == '=') break;
    value = (value << 6) | static_cast<unsigned>(digits.find(c));
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += static_cast<char>((value >> bits) & 0xFF);
    }
  }
  return bytes;
}

/// Every golden text must give the ids that transformers gave.
void require_golden_ids(const Tokenizer& tokenizer, const std::string& name) {
  const nlohmann::json texts = test::golden_json("tokenizer_texts.json.gz");
  const nlohmann::json golden = test::golden_json(name);
  INFO("transformers " << golden.at("transformers") << ", tokenizers " << golden.at("tokenizers"));
  REQUIRE(texts.size() >= 5000);
  REQUIRE(golden.at("ids").size() == texts.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto wanted = golden["ids"][i].get<std::vector<std::int32_t>>();
    const std::string text = from_base64(texts[i]);
    const Encoding encoding = tokenizer.encode(text, no_limit);
    if (encoding.ids == wanted && !encoding.truncated()) continue;
    if (++wrong > 3) continue;
    UNSCOPED_INFO("text " << i << ": " << texts[i] << "\n  ours   "
                          << nlohmann::json(encoding.ids).dump().substr(0, 300) << "\n  wanted "
                          << nlohmann::json(wanted).dump().substr(0, 300));
  }
  CHECK(wrong == 0);
}

std::shared_ptr<const Tokenizer> open(const std::string& directory) {
  return open_tokenizer(ModelDirectory::open(directory));
}

/// A copy of tiny_bert that a test may damage.
void copy_tiny_bert(const test::TemporaryDirectory& target) {
  std::filesystem::copy(test::data_file("tiny_bert"), target.path(), std::filesystem::copy_options::recursive);
}

}  // namespace

TEST_CASE("WordPiece gives the ids of the fast tokenizer for MiniLM's vocabulary") {
  PROMPTCACHE_REQUIRE_MINILM();
  require_golden_ids(*open(test::minilm_directory()), "tokenizer_minilm.json.gz");
}

TEST_CASE("WordPiece gives the ids of the fast tokenizer with the case and accents kept") {
  PROMPTCACHE_REQUIRE_MINILM();
  const test::TemporaryDirectory copy;
  std::filesystem::copy(test::minilm_directory(), copy.path(), std::filesystem::copy_options::recursive);
  nlohmann::json json = nlohmann::json::parse(read_file(copy.file("tokenizer.json")));
  json["normalizer"]["lowercase"] = false;
  copy.write("tokenizer.json", json.dump());
  require_golden_ids(*open(copy.path()), "tokenizer_minilm_cased.json.gz");
}

TEST_CASE("vocab.txt and tokenizer.json of one model give the same ids") {
  PROMPTCACHE_REQUIRE_MINILM();
  const test::TemporaryDirectory copy;
  std::filesystem::copy(test::minilm_directory(), copy.path(), std::filesystem::copy_options::recursive);
  std::filesystem::remove(copy.file("tokenizer.json"));
  require_golden_ids(*open(copy.path()), "tokenizer_minilm.json.gz");
}

TEST_CASE("SentencePiece gives the ids of sentencepiece, shifted, for a tiny XLM-RoBERTa") {
  require_golden_ids(*open(test::data_file("tiny_xlmr")), "tokenizer_tiny_xlmr.json.gz");
}

TEST_CASE("the public WordPiece vectors give the expected ids") {
  PROMPTCACHE_REQUIRE_REAL_DATA();
  const std::string folder = test::real_data_directory() + "/../models/bert_wordpiece_vocab/";
  if (!std::filesystem::exists(folder + "vocab.txt")) PROMPTCACHE_SKIP("the WordPiece vectors are not there");
  const test::TemporaryDirectory model;
  copy_tiny_bert(model);
  nlohmann::json config = nlohmann::json::parse(read_file(model.file("config.json")));
  config["vocab_size"] = 30522;
  model.write("config.json", config.dump());
  model.write("vocab.txt", read_file(folder + "vocab.txt"));
  const auto tokenizer = open(model.path());
  const std::string inputs = read_file(folder + "ggml-vocab-bert-bge.gguf.inp");
  std::istringstream outputs(read_file(folder + "ggml-vocab-bert-bge.gguf.out"));
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::size_t checked = 0;
  std::string line;
  for (std::size_t begin = 0; begin <= inputs.size() && std::getline(outputs, line); ++checked) {
    const std::size_t end = std::min(inputs.find(separator, begin), inputs.size());
    std::istringstream numbers(line);
    std::vector<std::int32_t> wanted{101};
    for (std::int32_t id = 0; numbers >> id;) wanted.push_back(id);
    wanted.push_back(102);
    INFO("vector " << checked);
    CHECK(tokenizer->encode(inputs.substr(begin, end - begin), no_limit).ids == wanted);
    begin = end + separator.size();
  }
  CHECK(checked > 40);
}

TEST_CASE("truncation keeps the end token and says how long the text was") {
  const auto tokenizer = open(test::data_file("tiny_bert"));
  const Encoding whole = tokenizer->encode("how do i reset my password", no_limit);
  CHECK_FALSE(whole.truncated());
  CHECK(whole.full_length == whole.ids.size());
  const Encoding cut = tokenizer->encode("how do i reset my password", 4);
  CHECK(cut.truncated());
  CHECK(cut.full_length == whole.full_length);
  REQUIRE(cut.ids.size() == 4);
  CHECK(std::equal(cut.ids.begin(), cut.ids.end() - 1, whole.ids.begin()));
  CHECK(cut.ids.back() == whole.ids.back());
  test::require_error(ErrorCode::usage, {"max_tokens", "found 1"}, [&] { tokenizer->encode("a", 1); });
}

TEST_CASE("unknown tokens are counted and identities tell tokenizers apart") {
  const auto bert = open(test::data_file("tiny_bert"));
  CHECK(bert->encode("how \u0416\u0416 i", no_limit).unknown_tokens == 1);
  CHECK(bert->padding_id() == 0);
  CHECK(bert->identity() == open(test::data_file("tiny_bert"))->identity());
  CHECK(bert->identity() != open(test::data_file("tiny_xlmr"))->identity());
  const test::TemporaryDirectory cased;
  copy_tiny_bert(cased);
  cased.write("tokenizer_config.json", R"({"do_lower_case": false})");
  CHECK(bert->identity() != open(cased.path())->identity());
}

TEST_CASE("broken tokenizer files are named") {
  const test::TemporaryDirectory model;
  copy_tiny_bert(model);
  const std::string vocabulary = read_file(model.file("vocab.txt"));

  model.write("vocab.txt", vocabulary + "one-more\n");
  test::require_error(ErrorCode::mismatch, {"228 ids", "227"}, [&] { open(model.path()); });
  model.write("vocab.txt", "");
  test::require_error(ErrorCode::format, {"vocab.txt", "empty"}, [&] { open(model.path()); });
  model.write("vocab.txt", "a\nb\n");
  test::require_error(ErrorCode::format, {"vocab.txt", "[UNK]"}, [&] { open(model.path()); });
  std::filesystem::remove(model.file("vocab.txt"));
  test::require_error(ErrorCode::not_found, {"tokenizer.json", "vocab.txt"}, [&] { open(model.path()); });

  for (const char* text : {"", "[]", "{", "{\"model\": 1}", R"({"model": {"type": "BPE", "vocab": {}}})",
                           R"({"model":{"type":"WordPiece","vocab":{"a":-1}},"normalizer":{"type":"BertNormalizer"},
                               "pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing"}})"}) {
    INFO(text);
    model.write("tokenizer.json", text);
    CHECK_THROWS_AS(open(model.path()), Error);
  }
  const test::TemporaryDirectory xlmr;
  std::filesystem::copy(test::data_file("tiny_xlmr"), xlmr.path(), std::filesystem::copy_options::recursive);
  const std::string pieces = read_file(xlmr.file("sentencepiece.bpe.model"));
  xlmr.write("sentencepiece.bpe.model", pieces.substr(0, pieces.size() / 2));
  test::require_error(ErrorCode::format, {"sentencepiece.bpe.model"}, [&] { open(xlmr.path()); });
  std::filesystem::remove(xlmr.file("sentencepiece.bpe.model"));
  test::require_error(ErrorCode::not_found, {"sentencepiece.bpe.model"}, [&] { open(xlmr.path()); });
}
