#include "promptcache/text/bpe_tokenizer.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "model/json_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/model/gguf.hpp"
#include "text/bpe.hpp"
#include "text/utf8.hpp"
#include "text/word_cutter.hpp"

namespace promptcache {
namespace {

constexpr std::size_t most_tokens = 1U << 24;

/// What both kinds of files say.
struct Vocabulary {
  std::string path;
  text::WordCut cut = text::WordCut::gpt2;
  bool whole_words_first = false;   ///< a word that is a token is not put together by merges
  std::vector<std::string> tokens;  ///< as written in the file; empty: no token has this id
  std::vector<bool> special;
  std::vector<std::pair<std::string, std::string>> merges;

  void add(const std::string& token, std::size_t id, bool is_special) {
    if (id >= most_tokens) {
      throw Error(ErrorCode::format, {path}, "token id " + std::to_string(id),
                  "at most " + std::to_string(most_tokens));
    }
    if (id >= tokens.size()) {
      tokens.resize(id + 1);
      special.resize(id + 1);
    }
    if (!tokens[id].empty() && tokens[id] != token) {
      throw Error(ErrorCode::format, {path},
                  "id " + std::to_string(id) + " for '" + tokens[id] + "' and '" + token + "'", "an id for each token");
    }
    tokens[id] = token;
    special[id] = special[id] || is_special;
  }
};

Error unsupported(const std::string& path, const std::string& found, const std::string& wanted) {
  return {ErrorCode::unsupported, {path}, found, wanted};
}

constexpr const char* llama3_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// The way of cutting words that a "pre_tokenizer" describes.
text::WordCut word_cut_of(const std::string& path, const Json& description) {
  const auto is_byte_level = [](const Json& part, bool regex) {
    return json_at(part, "type") == "ByteLevel" && json_at(part, "add_prefix_space") == false &&
           part.value("use_regex", true) == regex;
  };
  const Json& parts = json_at(description, "pretokenizers");
  const bool two = json_at(description, "type") == "Sequence" && parts.is_array() && parts.size() == 2;
  if (is_byte_level(description, true)) return text::WordCut::gpt2;
  if (two && json_at(parts[0], "type") == "Digits" && json_at(parts[0], "individual_digits") == true &&
      is_byte_level(parts[1], true)) {
    return text::WordCut::smollm;
  }
  if (two && json_at(parts[0], "type") == "Split" && json_at(parts[0], "behavior") == "Isolated" &&
      json_at(parts[0], "invert") == false && json_at(json_at(parts[0], "pattern"), "Regex") == llama3_words &&
      is_byte_level(parts[1], false)) {
    return text::WordCut::llama3;
  }
  throw unsupported(path, "pre_tokenizer " + description.dump().substr(0, 160),
                    "that of GPT-2, Llama-3 or SmolLM, without a space added in front");
}

std::pair<std::string, std::string> merge_of(const std::string& path, const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  if (merge.is_string()) {
    const auto text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos) return {text.substr(0, space), text.substr(space + 1)};
  }
  throw Error(ErrorCode::format, {path}, "merge " + merge.dump().substr(0, 80), "two tokens");
}

std::size_t id_of(const std::string& path, const Json& id) {
  if (id.is_number_unsigned()) return id.get<std::size_t>();
  throw Error(ErrorCode::format, {path}, "token id " + id.dump().substr(0, 80), "a whole number, not negative");
}

Vocabulary read_json(const std::string& path) {
  const JsonFile file(path);
  const Json& model = json_at(file.json(), "model");
  if (json_at(model, "type") != "BPE") {
    throw unsupported(path, "model type " + json_at(model, "type").dump(), "BPE");
  }
  for (const char* part : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& value = json_at(model, part);
    if (!value.is_null() && value != "") {
      throw unsupported(path, std::string(part) + " " + value.dump().substr(0, 80), "none");
    }
  }
  if (json_at(model, "byte_fallback") == true) throw unsupported(path, "byte_fallback", "byte-level BPE");
  if (!json_at(file.json(), "normalizer").is_null()) {
    throw unsupported(path, "normalizer " + json_at(file.json(), "normalizer").dump().substr(0, 80), "none");
  }
  Vocabulary vocabulary;
  vocabulary.path = path;
  vocabulary.cut = word_cut_of(path, json_at(file.json(), "pre_tokenizer"));
  vocabulary.whole_words_first = json_at(model, "ignore_merges") == true;
  const Json &tokens = json_at(model, "vocab"), &merges = json_at(model, "merges");
  if (!tokens.is_object() || !merges.is_array()) {
    throw Error(ErrorCode::format, {path}, "a model without vocab or merges", "both");
  }
  for (const auto& [token, id] : tokens.items()) vocabulary.add(token, id_of(path, id), false);
  for (const Json& merge : merges) vocabulary.merges.push_back(merge_of(path, merge));
  for (const Json& added : json_at(file.json(), "added_tokens")) {
    if (!json_at(added, "content").is_string()) {
      throw Error(ErrorCode::format, {path}, "an added token without content", "content and id");
    }
    const auto content = added["content"].get<std::string>();
    if (json_at(added, "special") != true) {
      throw unsupported(path, "added token '" + content + "' that is not special", "special ones only");
    }
    vocabulary.add(content, id_of(path, json_at(added, "id")), true);
  }
  return vocabulary;
}

Vocabulary read_gguf(const GgufFile& file) {
  Vocabulary vocabulary;
  vocabulary.path = file.path();
  const std::string& model = file.text("tokenizer.ggml.model");
  if (model != "gpt2") throw unsupported(file.path(), "tokenizer '" + model + "'", "'gpt2', byte-level BPE");
  const std::string& words = file.text("tokenizer.ggml.pre");
  if (words == "gpt-2") {
    vocabulary.cut = text::WordCut::gpt2;
  } else if (words == "smollm") {
    vocabulary.cut = text::WordCut::smollm;
  } else if (words == "llama-bpe" || words == "llama3" || words == "llama-v3") {
    vocabulary.cut = text::WordCut::llama3;
    vocabulary.whole_words_first = true;
  } else {
    throw unsupported(file.path(), "tokenizer.ggml.pre '" + words + "'", "gpt-2, llama-bpe or smollm");
  }
  const auto tokens = file.array<std::string>("tokenizer.ggml.tokens");
  const auto kinds = file.array<std::int64_t>("tokenizer.ggml.token_type");
  const auto merges = file.array<std::string>("tokenizer.ggml.merges");
  if (tokens.empty() || (!kinds.empty() && kinds.size() != tokens.size())) {
    throw Error(ErrorCode::format, {file.path()},
                std::to_string(tokens.size()) + " tokens and " + std::to_string(kinds.size()) + " token types",
                "as many of each");
  }
  constexpr std::int64_t control = 3, user_defined = 4;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const bool special = !kinds.empty() && (kinds[id] == control || kinds[id] == user_defined);
    vocabulary.add(tokens[id], id, special);
  }
  for (const std::string& merge : merges) vocabulary.merges.push_back(merge_of(file.path(), merge));
  return vocabulary;
}

}  // namespace

struct BpeTokenizer::Impl {
  text::WordCut cut;
  bool whole_words_first;
  std::vector<std::string> pieces;  ///< bytes of each token
  std::vector<bool> is_special;
  std::map<std::string, std::int32_t, std::less<>> specials;
  std::unordered_map<std::string, std::int32_t> ids;  ///< by bytes
  text::Bpe bpe;
  Digest identity;

  explicit Impl(const Vocabulary& vocabulary) : Impl(vocabulary, ids_of(vocabulary)) {}

 private:
  using Ids = std::unordered_map<std::string, std::int32_t>;

  static Ids ids_of(const Vocabulary& vocabulary) {
    Ids ids;
    for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
      const std::string& token = vocabulary.tokens[id];
      if (token.empty() || vocabulary.special[id]) continue;
      const std::optional<std::string> bytes = text::bytes_of_token(token);
      if (!bytes) {
        throw Error(ErrorCode::format, {vocabulary.path}, "token '" + token + "'",
                    "characters that stand for bytes, or a special token");
      }
      ids.emplace(*bytes, static_cast<std::int32_t>(id));
    }
    return ids;
  }

  static std::array<std::int32_t, 256> tokens_of_bytes(const std::string& path, const Ids& ids) {
    std::array<std::int32_t, 256> tokens{};
    for (std::size_t byte = 0; byte < tokens.size(); ++byte) {
      const auto found = ids.find(std::string(1, static_cast<char>(byte)));
      // Real vocabularies lack bytes that no text had in training: control characters, those that UTF-8 never uses.
      if (found == ids.end() && byte >= ' ' && byte <= '~') {
        throw Error(ErrorCode::format, {path}, "no token for byte " + std::to_string(byte),
                    "one for each printable character of ASCII");
      }
      tokens[byte] = found != ids.end() ? found->second : -1;
    }
    return tokens;
  }

  Impl(const Vocabulary& vocabulary, Ids known)
      : cut(vocabulary.cut),
        whole_words_first(vocabulary.whole_words_first),
        pieces(vocabulary.tokens.size()),
        is_special(vocabulary.special),
        ids(std::move(known)),
        bpe(tokens_of_bytes(vocabulary.path, ids)) {
    Sha256 hash;
    hash.field("tokenizer", "byte-level bpe")
        .field("words", std::to_string(static_cast<int>(cut)))
        .field("whole words first", whole_words_first ? "1" : "0");
    for (std::size_t id = 0; id < pieces.size(); ++id) {
      const std::string& token = vocabulary.tokens[id];
      hash.field(is_special[id] ? "special" : "token", token);
      if (is_special[id]) {
        pieces[id] = token;
        specials.emplace(token, static_cast<std::int32_t>(id));
      } else if (!token.empty()) {
        pieces[id] = *text::bytes_of_token(token);
      }
    }
    for (const auto& merge : vocabulary.merges) {
      const std::string &left = merge.first, &right = merge.second;
      hash.field(left, right);
      const auto id = [&](const std::string& token) {
        const std::optional<std::string> bytes = text::bytes_of_token(token);
        const auto found = bytes ? ids.find(*bytes) : ids.end();
        if (found == ids.end()) {
          throw Error(ErrorCode::format, {vocabulary.path}, "a merge of '" + left + "' and '" + right + "'",
                      "tokens of the vocabulary, and their merger one too");
        }
        return found->second;
      };
      bpe.add_merge(id(left), id(right), id(left + right));
    }
    identity = hash.finish();
  }
};

BpeTokenizer::BpeTokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
BpeTokenizer::~BpeTokenizer() = default;

std::shared_ptr<const BpeTokenizer> BpeTokenizer::open(const std::string& tokenizer_json) {
  return std::shared_ptr<const BpeTokenizer>(new BpeTokenizer(std::make_unique<const Impl>(read_json(tokenizer_json))));
}

std::shared_ptr<const BpeTokenizer> BpeTokenizer::from_gguf(const GgufFile& file) {
  return std::shared_ptr<const BpeTokenizer>(new BpeTokenizer(std::make_unique<const Impl>(read_gguf(file))));
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  const std::u32string characters = text::decode_utf8(text);
  std::vector<std::int32_t> ids;
  std::string word;
  std::size_t at = 0;
  for (const std::size_t length : text::cut_words(characters, impl_->cut)) {
    word.clear();
    for (std::size_t i = 0; i < length; ++i) text::append_utf8(word, characters[at + i]);
    at += length;
    const auto whole = impl_->whole_words_first ? impl_->ids.find(word) : impl_->ids.end();
    if (whole != impl_->ids.end()) {
      ids.push_back(whole->second);
    } else {
      impl_->bpe.encode(word, ids);
    }
  }
  return ids;
}

std::string BpeTokenizer::decode(std::span<const std::int32_t> ids, bool with_special) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= impl_->pieces.size()) {
      throw Error(ErrorCode::usage, {"BpeTokenizer::decode"}, "token id " + std::to_string(id),
                  "0 to " + std::to_string(impl_->pieces.size() - 1));
    }
    if (with_special || !is_special(id)) text += impl_->pieces[static_cast<std::size_t>(id)];
  }
  return text;
}

std::optional<std::int32_t> BpeTokenizer::special(std::string_view name) const {
  const auto found = impl_->specials.find(name);
  if (found == impl_->specials.end()) return {};
  return found->second;
}

bool BpeTokenizer::is_special(std::int32_t id) const {
  return id >= 0 && static_cast<std::size_t>(id) < impl_->is_special.size() &&
         impl_->is_special[static_cast<std::size_t>(id)];
}

std::size_t BpeTokenizer::vocabulary_size() const { return impl_->pieces.size(); }

Digest BpeTokenizer::identity() const { return impl_->identity; }

}  // namespace promptcache
