#include "promptcache/text/tokenizer.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "golden.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "support.hpp"
#include "text/bert_normalizer.hpp"
#include "text/utf8.hpp"

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

/// A copy that a test may damage.
void copy_model(const std::string& source, const test::TemporaryDirectory& target) {
  std::filesystem::copy(source, target.path(), std::filesystem::copy_options::recursive);
}
void copy_tiny_bert(const test::TemporaryDirectory& target) { copy_model(test::data_file("tiny_bert"), target); }

void change(const std::string& path, const std::string& key, const nlohmann::json& value) {
  nlohmann::json json = nlohmann::json::parse(read_file(path));
  json[key] = value;
  std::ofstream(path) << json.dump();
}

}  // namespace

TEST_CASE("WordPiece gives the ids of the fast tokenizer for MiniLM's vocabulary") {
  PROMPTCACHE_REQUIRE_MINILM();
  require_golden_ids(*open(test::minilm_directory()), "tokenizer_minilm.json.gz");
}

TEST_CASE("WordPiece gives the ids of the fast tokenizer with the case and accents kept") {
  PROMPTCACHE_REQUIRE_MINILM();
  const test::TemporaryDirectory copy;
  copy_model(test::minilm_directory(), copy);
  change(copy.file("tokenizer_config.json"), "do_lower_case", false);
  require_golden_ids(*open(copy.path()), "tokenizer_minilm_cased.json.gz");
}

TEST_CASE("WordPiece gives the ids of the fast tokenizer for a vocabulary of our own") {
  require_golden_ids(*open(test::data_file("tiny_bert")), "tokenizer_tiny_bert.json.gz");
  const test::TemporaryDirectory cased;
  copy_model(test::data_file("tiny_bert"), cased);
  change(cased.file("tokenizer_config.json"), "do_lower_case", false);
  require_golden_ids(*open(cased.path()), "tokenizer_tiny_bert_cased.json.gz");
}

TEST_CASE("vocab.txt and tokenizer.json of one model give the same ids") {
  PROMPTCACHE_REQUIRE_MINILM();
  const test::TemporaryDirectory copy;
  copy_model(test::minilm_directory(), copy);
  std::filesystem::remove(copy.file("tokenizer.json"));
  require_golden_ids(*open(copy.path()), "tokenizer_minilm.json.gz");
}

TEST_CASE("tokenizer_config.json rules over tokenizer.json for BertTokenizer, not for the generic fast class") {
  PROMPTCACHE_REQUIRE_MINILM();
  const test::TemporaryDirectory copy;
  copy_model(test::minilm_directory(), copy);
  nlohmann::json json = nlohmann::json::parse(read_file(copy.file("tokenizer.json")));
  json["normalizer"]["lowercase"] = false;
  copy.write("tokenizer.json", json.dump());
  const std::vector<std::int32_t> lower = {101, 7592, 7592, 102};  // "hello" twice
  const std::vector<std::int32_t> kept = {101, 7592, 100, 102};
  CHECK(open(copy.path())->encode("hello HELLO", no_limit).ids == lower);
  change(copy.file("tokenizer_config.json"), "tokenizer_class", "PreTrainedTokenizerFast");
  CHECK(open(copy.path())->encode("hello HELLO", no_limit).ids == kept);
  change(copy.file("tokenizer_config.json"), "tokenizer_class", "BertJapaneseTokenizer");
  test::require_error(ErrorCode::unsupported, {"BertJapaneseTokenizer"}, [&] { open(copy.path()); });
}

TEST_CASE("added tokens are found in the raw text; kinds that are not supported are named") {
  const test::TemporaryDirectory copy;
  copy_model(test::data_file("tiny_bert"), copy);
  change(copy.file("config.json"), "vocab_size", 228);
  const auto add = [&](const nlohmann::json& token) {
    change(copy.file("tokenizer_config.json"), "added_tokens_decoder", {{"227", token}});
  };
  add({{"content", "<New>"}, {"normalized", false}, {"lstrip", true}, {"rstrip", true}});
  const auto tokenizer = open(copy.path());
  const auto how = tokenizer->encode("how", no_limit).ids.at(1);
  CHECK(tokenizer->encode("how <New>how", no_limit).ids == std::vector<std::int32_t>{2, how, 227, how, 3});
  CHECK(tokenizer->vocabulary_size() == 228);
  add({{"content", "<New>"}, {"normalized", true}});
  test::require_error(ErrorCode::unsupported, {"<New>", "normalized"}, [&] { open(copy.path()); });
  add({{"content", "<New>"}, {"single_word", true}});
  test::require_error(ErrorCode::unsupported, {"<New>", "single_word"}, [&] { open(copy.path()); });
  add({{"content", "how"}});
  test::require_error(ErrorCode::format, {"'how'", "227"}, [&] { open(copy.path()); });
  add("text");
  test::require_error(ErrorCode::format, {"added token"}, [&] { open(copy.path()); });
}

TEST_CASE("a text of one endless word costs time in proportion to its length") {
  // tokenizer.json may raise the limit of 100 characters a word; a search from the word's end would never come back.
  PROMPTCACHE_REQUIRE_MINILM();
  const test::TemporaryDirectory copy;
  copy_model(test::minilm_directory(), copy);
  nlohmann::json json = nlohmann::json::parse(read_file(copy.file("tokenizer.json")));
  json["model"]["max_input_chars_per_word"] = 10'000'000;
  copy.write("tokenizer.json", json.dump());
  change(copy.file("tokenizer_config.json"), "tokenizer_class", "PreTrainedTokenizerFast");
  const Encoding encoding = open(copy.path())->encode(std::string(2'000'000, 'q'), 16);
  CHECK(encoding.full_length > 100'000);
  CHECK(encoding.unknown_tokens == 0);
  CHECK(open(test::minilm_directory())->encode(std::string(2'000'000, 'q'), 16).full_length == 3);
}

TEST_CASE("SentencePiece gives the ids of the fast tokenizer for a tiny XLM-RoBERTa") {
  // For the few texts listed there the fast tokenizer has its own way, and the ids are those of sentencepiece.
  CHECK(test::golden_json("tokenizer_tiny_xlmr.json.gz").at("from_sentencepiece").size() < 30);
  require_golden_ids(*open(test::data_file("tiny_xlmr")), "tokenizer_tiny_xlmr.json.gz");
}

TEST_CASE("an XLM-RoBERTa directory with nothing but tokenizer.json gives the same ids") {
  const test::TemporaryDirectory copy;
  copy_model(test::data_file("tiny_xlmr"), copy);
  std::filesystem::remove(copy.file("sentencepiece.bpe.model"));
  const nlohmann::json tokenizer = test::golden_json("tiny_xlmr_tokenizer.json.gz");
  copy.write("tokenizer.json", tokenizer.dump());
  require_golden_ids(*open(copy.path()), "tokenizer_tiny_xlmr.json.gz");

  const auto refused = [&](ErrorCode code, const char* place, const nlohmann::json& value, const std::string& named) {
    nlohmann::json changed = tokenizer;
    changed[nlohmann::json::json_pointer(place)] = value;
    copy.write("tokenizer.json", changed.dump());
    test::require_error(code, {"tokenizer.json", named}, [&] { open(copy.path()); });
  };
  refused(ErrorCode::unsupported, "/model/type", "BPE", "BPE");
  refused(ErrorCode::unsupported, "/normalizer/type", "NFKC", "NFKC");
  refused(ErrorCode::unsupported, "/pre_tokenizer", {{"type", "Metaspace"}}, "Metaspace");
  refused(ErrorCode::unsupported, "/model/vocab/1/0", "<s>", "order");
  refused(ErrorCode::format, "/model/vocab/7", "text", "piece 7");
  refused(ErrorCode::unsupported, "/added_tokens/0/content", "<new>", "<new>");
  refused(ErrorCode::format, "/normalizer/precompiled_charsmap", "!", "base64");
  refused(ErrorCode::format, "/normalizer/precompiled_charsmap", "BAAAAP///38AAA==", "character map");
}

TEST_CASE("every code point is cleaned, lower-cased, stripped and split as the fast tokenizer does it") {
  const nlohmann::json golden = nlohmann::json::parse(read_file(test::data_file("unicode_blocks.json")));
  for (const bool lower : {true, false}) {
    const nlohmann::json& blocks = golden.at(lower ? "lower" : "cased");
    REQUIRE(blocks.size() == 272);
    for (char32_t begin = 0; begin < 0x110000; begin += 4096) {
      std::string lines;
      for (char32_t c = begin; c < begin + 4096; ++c) {
        if (c >= 0xD800 && c < 0xE000) continue;
        if (c != begin) lines += '\n';
        const std::u32string text = text::normalize_bert({U'A', c, U'b', 0x302E, c, 0x1B44, U' '},
                                                         {.strip_accents = lower, .lowercase = lower});
        bool first = true;
        for (std::u32string_view word : text::split_bert(text)) {
          if (!std::exchange(first, false)) lines += ' ';
          for (char32_t part : word) text::append_utf8(lines, part);
        }
      }
      INFO("block " << begin / 4096 << (lower ? " lower-cased" : " with the case kept"));
      CHECK(sha256(lines).hex().substr(0, 16) == blocks[begin / 4096]);
    }
  }
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
  test::require_error(ErrorCode::not_found, {"sentencepiece.bpe.model", "tokenizer.json"}, [&] { open(xlmr.path()); });
}
