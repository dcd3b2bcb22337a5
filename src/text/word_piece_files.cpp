#include <nlohmann/json.hpp>
#include <utility>

#include "model/json_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "text/word_piece.hpp"

namespace promptcache::text {
namespace {

Json read_object(const std::string& path) {
  Json json = parse_json(path, read_file(path));
  if (!json.is_object()) throw Error(ErrorCode::format, {path}, "no JSON object", "a JSON object");
  return json;
}

/// A token as a text or as {"content": text}, both of which transformers writes.
std::string token_text(const Json& token, const std::string& otherwise) {
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object()) return token.value("content", otherwise);
  return otherwise;
}

void check_part(const std::string& path, const Json& json, const char* part, std::initializer_list<const char*> known) {
  const std::string type = json.contains(part) && json[part].is_object() ? json[part].value("type", "") : "none";
  std::string wanted;
  for (const char* name : known) {
    if (type == name) return;
    wanted += (wanted.empty() ? "" : " or ") + std::string(name);
  }
  throw Error(ErrorCode::unsupported, {path}, std::string(part) + " '" + type + "'", wanted);
}

void add_special_tokens(WordPieceOptions& options, const std::string& path, const Json& added) {
  for (const Json& token : added) {
    if (!token.is_object() || !token.contains("content") || !token["content"].is_string() || !token.contains("id") ||
        !token["id"].is_number_integer()) {
      throw Error(ErrorCode::format, {path}, "added token " + token.dump().substr(0, 80), "one with content and id");
    }
    const std::string content = token["content"].get<std::string>();
    // lstrip and rstrip only eat white space, which separates words here anyway.
    if (token.value("normalized", false) || token.value("single_word", false)) {
      throw Error(ErrorCode::unsupported, {path}, "added token '" + content + "' with normalized or single_word",
                  "added tokens that are matched in the raw text");
    }
    const auto id = token["id"].get<std::int64_t>();
    if (id < 0 || id > INT32_MAX) {
      throw Error(ErrorCode::format, {path}, "id " + std::to_string(id) + " of added token '" + content + "'",
                  "a whole number that fits into 32 bits");
    }
    const auto known = options.vocabulary.emplace(content, static_cast<std::int32_t>(id)).first->second;
    if (known != id) {
      throw Error(ErrorCode::format, {path}, "added token '" + content + "' with id " + std::to_string(id),
                  std::to_string(known) + " as in the vocabulary");
    }
    options.special_tokens.add(content, known);
  }
}

/// Start and end token of the post-processor, in either of the two forms transformers writes.
void read_frame(WordPieceOptions& options, const std::string& path, const Json& processor) {
  const auto refuse = [&] {
    return Error(ErrorCode::unsupported, {path}, "post_processor " + processor.dump().substr(0, 120),
                 "one start token, the text, one end token");
  };
  if (processor["type"] == "BertProcessing") {
    options.start_token = processor.at("cls").at(0).get<std::string>();
    options.end_token = processor.at("sep").at(0).get<std::string>();
    return;
  }
  const Json& single = processor.at("single");
  if (single.size() != 3 || !single[0].contains("SpecialToken") || !single[1].contains("Sequence") ||
      !single[2].contains("SpecialToken")) {
    throw refuse();
  }
  options.start_token = single[0]["SpecialToken"].at("id").get<std::string>();
  options.end_token = single[2]["SpecialToken"].at("id").get<std::string>();
}

WordPieceOptions from_tokenizer_json(const std::string& path) {
  const Json json = read_object(path);
  check_part(path, json, "model", {"WordPiece"});
  check_part(path, json, "normalizer", {"BertNormalizer"});
  check_part(path, json, "pre_tokenizer", {"BertPreTokenizer"});
  check_part(path, json, "post_processor", {"TemplateProcessing", "BertProcessing"});
  WordPieceOptions options;
  options.source = path;
  const Json& model = json["model"];
  if (!model.contains("vocab") || !model["vocab"].is_object() || model["vocab"].empty()) {
    throw Error(ErrorCode::format, {path}, "no vocabulary", "model.vocab");
  }
  options.vocabulary.reserve(model["vocab"].size());
  for (const auto& [piece, id] : model["vocab"].items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > INT32_MAX) {
      throw Error(ErrorCode::format, {path}, "id " + id.dump() + " of piece '" + piece + "'", "a whole number");
    }
    options.vocabulary.emplace(piece, id.get<std::int32_t>());
  }
  options.unknown_token = model.value("unk_token", "[UNK]");
  options.continuation_prefix = model.value("continuing_subword_prefix", "##");
  options.longest_word = model.value("max_input_chars_per_word", std::size_t{100});
  const Json& normalizer = json["normalizer"];
  options.normalization.clean_text = normalizer.value("clean_text", true);
  options.normalization.handle_chinese_chars = normalizer.value("handle_chinese_chars", true);
  options.normalization.lowercase = normalizer.value("lowercase", true);
  const bool says = normalizer.contains("strip_accents") && normalizer["strip_accents"].is_boolean();
  options.normalization.strip_accents =
      says ? normalizer["strip_accents"].get<bool>() : options.normalization.lowercase;
  read_frame(options, path, json["post_processor"]);
  if (json.contains("added_tokens")) add_special_tokens(options, path, json["added_tokens"]);
  if (json.contains("padding") && json["padding"].is_object()) {
    options.padding_token = json["padding"].value("pad_token", options.padding_token);
  }
  return options;
}

/// What BertTokenizer builds from tokenizer_config.json; to it the normalizer written in tokenizer.json does not count.
void apply_settings(WordPieceOptions& options, const std::string& path, const Json& config) {
  BertNormalization& steps = options.normalization;
  steps.clean_text = true;
  steps.lowercase = config.value("do_lower_case", true);
  steps.handle_chinese_chars = config.value("tokenize_chinese_chars", true);
  const bool says = config.contains("strip_accents") && config["strip_accents"].is_boolean();
  steps.strip_accents = says ? config["strip_accents"].get<bool>() : steps.lowercase;
  options.longest_word = 100;
  std::string mask = "[MASK]";
  const std::pair<const char*, std::string*> targets[] = {{"unk_token", &options.unknown_token},
                                                          {"sep_token", &options.end_token},
                                                          {"pad_token", &options.padding_token},
                                                          {"cls_token", &options.start_token},
                                                          {"mask_token", &mask}};
  for (const auto& [name, target] : targets) {
    if (config.contains(name)) *target = token_text(config[name], *target);
  }
  if (config.contains("added_tokens_decoder")) {
    Json added = Json::array();
    for (const auto& [id, token] : config["added_tokens_decoder"].items()) {
      added.push_back(token);
      const bool digits = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
      if (digits && token.is_object()) added.back()["id"] = std::stoi(id);
    }
    add_special_tokens(options, path, added);
  }
  for (const auto& [name, target] : targets) {
    const auto found = options.vocabulary.find(*target);
    if (found != options.vocabulary.end()) options.special_tokens.add(*target, found->second);
  }
}

WordPieceOptions from_vocabulary_text(const std::string& path) {
  WordPieceOptions options;
  options.source = path;
  const std::string content = read_file(path);
  std::int32_t id = 0;
  for (std::size_t begin = 0; begin < content.size(); ++id) {
    std::size_t end = content.find('\n', begin);
    if (end == std::string::npos) end = content.size();
    const std::size_t length = end > begin && content[end - 1] == '\r' ? end - begin - 1 : end - begin;
    options.vocabulary.insert_or_assign(content.substr(begin, length), id);  // a repeated piece keeps its last id
    begin = end + 1;
  }
  if (options.vocabulary.empty()) throw Error(ErrorCode::format, {path}, "an empty file", "a piece a line");
  return options;
}

/// Whether transformers gives this class's settings precedence over tokenizer.json.
bool settings_rule(const std::string& path, const Json& config) {
  const std::string name = config.contains("tokenizer_class") ? token_text(config["tokenizer_class"], "") : "";
  if (name.empty() || name == "BertTokenizer" || name == "BertTokenizerFast") return true;
  if (name == "PreTrainedTokenizerFast" || name == "TokenizersBackend") return false;
  throw Error(ErrorCode::unsupported, {path}, "tokenizer_class '" + name + "'",
              "BertTokenizer, BertTokenizerFast or PreTrainedTokenizerFast");
}

WordPieceOptions read_options(const ModelDirectory& directory) {
  const std::string settings = directory.file("tokenizer_config.json");
  const Json config = directory.has_file("tokenizer_config.json") ? read_object(settings) : Json::object();
  const bool bert = settings_rule(settings, config);
  if (directory.has_file("tokenizer.json")) {
    WordPieceOptions options = from_tokenizer_json(directory.file("tokenizer.json"));
    if (bert) apply_settings(options, settings, config);
    return options;
  }
  if (!directory.has_file("vocab.txt")) {
    throw Error(ErrorCode::not_found, {directory.path()}, "neither tokenizer.json nor vocab.txt", "one of them");
  }
  if (directory.has_file("added_tokens.json") && !read_object(directory.file("added_tokens.json")).empty()) {
    throw Error(ErrorCode::unsupported, {directory.file("added_tokens.json")}, "added tokens beside a vocab.txt",
                "a tokenizer.json that has them");
  }
  WordPieceOptions options = from_vocabulary_text(directory.file("vocab.txt"));
  apply_settings(options, settings, config);
  return options;
}

}  // namespace

std::shared_ptr<const Tokenizer> open_word_piece(const ModelDirectory& directory) {
  try {
    return std::make_shared<WordPiece>(read_options(directory));
  } catch (const Json::exception& error) {  // a value of another type than the format demands
    throw Error(ErrorCode::format, {directory.path() + ": tokenizer.json, tokenizer_config.json"},
                std::string("'") + error.what() + "'", "the settings of a BERT tokenizer");
  }
}

}  // namespace promptcache::text
