#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "text/word_piece.hpp"

namespace promptcache::text {
namespace {

using Json = nlohmann::json;

constexpr const char* special_names[] = {"unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

Json read_object(const std::string& path) {
  Json json = Json::parse(read_file(path), nullptr, false);
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
    const auto id = token["id"].get<std::int32_t>();
    options.vocabulary.emplace(content, id);
    options.special_tokens.add(content, id);
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

WordPieceOptions from_vocabulary_text(const ModelDirectory& directory) {
  WordPieceOptions options;
  options.source = directory.file("vocab.txt");
  const std::string content = read_file(options.source);
  std::int32_t id = 0;
  for (std::size_t begin = 0; begin < content.size(); ++id) {
    std::size_t end = content.find('\n', begin);
    if (end == std::string::npos) end = content.size();
    const std::size_t length = end > begin && content[end - 1] == '\r' ? end - begin - 1 : end - begin;
    options.vocabulary.insert_or_assign(content.substr(begin, length), id);  // a repeated piece keeps its last id
    begin = end + 1;
  }
  if (options.vocabulary.empty()) throw Error(ErrorCode::format, {options.source}, "an empty file", "a piece a line");
  Json config = Json::object();
  if (directory.has_file("tokenizer_config.json")) config = read_object(directory.file("tokenizer_config.json"));
  BertNormalization& steps = options.normalization;
  steps.lowercase = config.value("do_lower_case", true);
  steps.handle_chinese_chars = config.value("tokenize_chinese_chars", true);
  const bool says = config.contains("strip_accents") && config["strip_accents"].is_boolean();
  steps.strip_accents = says ? config["strip_accents"].get<bool>() : steps.lowercase;
  std::string* targets[] = {&options.unknown_token, &options.end_token, &options.padding_token, &options.start_token};
  for (std::size_t i = 0; i < std::size(targets); ++i) {
    if (config.contains(special_names[i])) *targets[i] = token_text(config[special_names[i]], *targets[i]);
  }
  std::string mask = "[MASK]";
  if (config.contains("mask_token")) mask = token_text(config["mask_token"], mask);
  for (const std::string& token :
       {options.unknown_token, options.end_token, options.padding_token, options.start_token, mask}) {
    const auto found = options.vocabulary.find(token);
    if (found != options.vocabulary.end()) options.special_tokens.add(token, found->second);
  }
  return options;
}

}  // namespace

std::shared_ptr<const Tokenizer> open_word_piece(const ModelDirectory& directory) {
  const std::string json = directory.file("tokenizer.json");
  if (directory.has_file("tokenizer.json")) {
    try {
      return std::make_shared<WordPiece>(from_tokenizer_json(json));
    } catch (const Json::exception& error) {  // a value of another type than the format demands
      throw Error(ErrorCode::format, {json}, std::string("'") + error.what() + "'",
                  "a tokenizer of the fast BERT kind");
    }
  }
  if (directory.has_file("vocab.txt")) {
    try {
      return std::make_shared<WordPiece>(from_vocabulary_text(directory));
    } catch (const Json::exception& error) {
      throw Error(ErrorCode::format, {directory.file("tokenizer_config.json")}, std::string("'") + error.what() + "'",
                  "settings of a BERT tokenizer");
    }
  }
  throw Error(ErrorCode::not_found, {directory.path()}, "neither tokenizer.json nor vocab.txt", "one of them");
}

}  // namespace promptcache::text
