#include "promptcache/model/model_directory.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "model/json_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache {
namespace {

Error unsupported(const std::string& path, const std::string& found, const std::string& wanted) {
  return Error(ErrorCode::unsupported, {path}, found, wanted);
}

Activation parse_activation(const JsonFile& file) {
  const std::string name = file.text_or("hidden_act", "gelu");
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  throw unsupported(file.path(), "hidden_act '" + name + "'", "gelu, gelu_new, gelu_pytorch_tanh or relu");
}

EncoderConfig parse_encoder(const JsonFile& file) {
  EncoderConfig config;
  const std::string type = file.text_or("model_type", "");
  if (type == "bert") {
    config.architecture = Architecture::bert;
  } else if (type == "xlm-roberta") {
    config.architecture = Architecture::xlm_roberta;
  } else {
    throw unsupported(file.path(), "model_type '" + type + "'", "bert or xlm-roberta");
  }
  const std::string positions = file.text_or("position_embedding_type", "absolute");
  if (positions != "absolute")
    throw unsupported(file.path(), "position_embedding_type '" + positions + "'", "absolute");
  if (file.flag_or("is_decoder", false)) throw unsupported(file.path(), "a decoder", "an encoder");
  config.hidden_size = file.size("hidden_size");
  config.layers = file.size("num_hidden_layers");
  config.heads = file.size("num_attention_heads");
  config.intermediate_size = file.size("intermediate_size");
  config.vocabulary_size = file.size("vocab_size");
  config.position_rows = file.size("max_position_embeddings");
  config.type_vocabulary_size = file.size_or("type_vocab_size", 2);
  config.padding_id =
      static_cast<std::int32_t>(file.size_or("pad_token_id", config.architecture == Architecture::xlm_roberta ? 1 : 0));
  config.position_offset =
      config.architecture == Architecture::xlm_roberta ? static_cast<std::size_t>(config.padding_id) + 1 : 0;
  config.layer_norm_eps = static_cast<float>(file.number_or("layer_norm_eps", 1e-12));
  config.activation = parse_activation(file);
  config.hidden_dropout = static_cast<float>(file.number_or("hidden_dropout_prob", 0.1));
  config.attention_dropout = static_cast<float>(file.number_or("attention_probs_dropout_prob", 0.1));
  const auto share = [](float dropout) { return dropout >= 0 && dropout < 1; };
  const bool sound = config.layer_norm_eps > 0 && share(config.hidden_dropout) && share(config.attention_dropout);
  if (!sound) {
    throw Error(ErrorCode::format, {file.path()}, "layer_norm_eps or a dropout outside its range",
                "layer_norm_eps above zero, dropouts in [0, 1)");
  }
  const bool empty = config.hidden_size == 0 || config.heads == 0 || config.intermediate_size == 0 ||
                     config.vocabulary_size == 0 || config.type_vocabulary_size == 0;
  if (empty || config.hidden_size % config.heads != 0 || config.position_rows < config.position_offset + 3) {
    throw Error(ErrorCode::format, {file.path()},
                "hidden_size " + std::to_string(config.hidden_size) + ", num_attention_heads " +
                    std::to_string(config.heads) + ", max_position_embeddings " + std::to_string(config.position_rows),
                "sizes above zero, a hidden size that the heads divide, and room for three tokens");
  }
  return config;
}

/// Old directories set one of several flags, new ones name the mode.
Pooling parse_pooling(const JsonFile& file) {
  const std::string mode = file.text_or("pooling_mode", "");
  const char* wanted = "mean or CLS pooling, one of them";
  if (!mode.empty()) {
    if (mode == "mean") return Pooling::mean;
    if (mode == "cls") return Pooling::cls;
    throw unsupported(file.path(), "pooling_mode '" + mode + "'", wanted);
  }
  std::string chosen;
  for (const auto& [key, value] : file.json().items()) {
    if (key.rfind("pooling_mode_", 0) == 0 && value == true) chosen += (chosen.empty() ? "" : ", ") + key;
  }
  if (chosen == "pooling_mode_mean_tokens") return Pooling::mean;
  if (chosen == "pooling_mode_cls_token") return Pooling::cls;
  throw unsupported(file.path(), chosen.empty() ? "no pooling mode" : chosen, wanted);
}

struct Modules {
  bool normalizes = false;
  Pooling pooling = Pooling::mean;  // what sentence-transformers uses for a directory without modules.json
  bool includes_prompt = true;
};

Modules parse_modules(const ModelDirectory& directory) {
  Modules result;
  if (!directory.has_file("modules.json")) return result;
  const std::string path = directory.file("modules.json");
  const Json list = parse_json(path, read_file(path));
  if (!list.is_array() || list.empty())
    throw Error(ErrorCode::format, {path}, "no list of modules", "a list of modules");
  std::string order;
  for (const Json& module : list) {
    if (!module.is_object() || !module.contains("type") || !module["type"].is_string()) {
      throw Error(ErrorCode::format, {path}, module.dump().substr(0, 80), "a module with a type");
    }
    const std::string type = module["type"].get<std::string>();
    const std::string name = type.substr(type.rfind('.') + 1);
    order += (order.empty() ? "" : ", ") + name;
    const std::string folder = json_at(module, "path").is_string() ? module["path"].get<std::string>() : "";
    if (name == "Transformer" && !folder.empty()) {
      throw unsupported(path, "a Transformer in the folder '" + folder + "'", "the Transformer at the top");
    }
    if (name == "Pooling") {
      const JsonFile pooling(directory.file(folder + "/config.json"));
      result.pooling = parse_pooling(pooling);
      result.includes_prompt = pooling.flag_or("include_prompt", true);
    }
    result.normalizes = result.normalizes || name == "Normalize";
  }
  if (order != "Transformer, Pooling" && order != "Transformer, Pooling, Normalize") {
    throw unsupported(path, "modules " + order, "Transformer, Pooling and perhaps Normalize");
  }
  return result;
}

std::optional<VerifiedThreshold> parse_verified_threshold(const JsonFile& file) {
  if (!file.has("threshold")) return std::nullopt;
  const Json& about = json_at(file.json(), "calibration");
  const auto number = [&](const char* key) {
    const Json& value = json_at(about, key);
    return value.is_number() ? value.get<double>() : -1;
  };
  const VerifiedThreshold found{file.number_or("threshold", 0), number("target_wrong_hits"), number("confidence"),
                                number("upper_bound")};
  const bool sound = std::isfinite(found.threshold) && found.target_wrong_hits > 0 && found.target_wrong_hits < 1 &&
                     found.confidence > 0 && found.confidence < 1 && found.upper_bound > 0 &&
                     found.upper_bound <= found.target_wrong_hits;
  if (!sound) {
    throw Error(ErrorCode::format, {file.path()}, "a threshold without the calibration that verified it",
                "what pc-calibrate writes");
  }
  return found;
}

ModelExtras parse_extras(const ModelDirectory& directory) {
  ModelExtras extras;
  if (!directory.has_file("promptcache.json")) return extras;
  const JsonFile file(directory.file("promptcache.json"));
  if (file.has("lambda")) extras.lambda = file.number_or("lambda", 0);
  if (file.has("c")) extras.offset = file.number_or("c", 0);
  const bool usable = extras.lambda.has_value() == extras.offset.has_value() &&
                      (!extras.lambda || (*extras.lambda > 0 && std::isfinite(*extras.lambda)));
  if (!usable) throw Error(ErrorCode::format, {file.path()}, "lambda or c unusable", "both, with lambda above zero");
  extras.verified = parse_verified_threshold(file);
  const Json& embedder = json_at(json_at(file.json(), "calibration"), "embedder");
  if (embedder.is_string()) extras.calibrated_embedder = embedder.get<std::string>();
  if (const Json& cascade = json_at(file.json(), "cascade"); cascade.is_object()) extras.cascade = cascade.dump();
  return extras;
}

}  // namespace

ModelDirectory ModelDirectory::open(const std::string& path) {
  ModelDirectory directory;
  directory.path_ = path;
  if (!std::filesystem::is_directory(path)) {
    throw Error(ErrorCode::not_found, {path}, std::filesystem::exists(path) ? "a file" : "nothing there",
                "a model directory (config.json, model.safetensors, a tokenizer)");
  }
  directory.encoder_ = parse_encoder(JsonFile(directory.file("config.json")));
  const Modules modules = parse_modules(directory);
  directory.pooling_ = modules.pooling;
  directory.normalizes_ = modules.normalizes;

  bool tokenizer_lower_cases = false;
  std::size_t longest = directory.encoder_.max_positions();
  if (directory.has_file("tokenizer_config.json")) {
    const JsonFile tokenizer(directory.file("tokenizer_config.json"));
    tokenizer_lower_cases = tokenizer.flag_or("do_lower_case", directory.encoder_.architecture == Architecture::bert);
    // Absent limits are written as a huge number such as 1e30.
    const double limit = tokenizer.number_or("model_max_length", 1e30);
    if (limit >= 1 && limit < static_cast<double>(longest)) longest = static_cast<std::size_t>(limit);
  }
  if (directory.has_file("sentence_bert_config.json")) {
    const JsonFile file(directory.file("sentence_bert_config.json"));
    const std::string task = file.text_or("transformer_task", "feature-extraction");
    const std::string output = file.text_or("module_output_name", "token_embeddings");
    if (task != "feature-extraction" || output != "token_embeddings") {
      throw unsupported(file.path(), "transformer_task '" + task + "' with output '" + output + "'",
                        "feature-extraction with token_embeddings");
    }
    longest = std::min(file.size_or("max_seq_length", longest), directory.encoder_.max_positions());
    // This switch lower-cases the text before the tokenizer sees it: harmless when the tokenizer does so anyway.
    if (file.flag_or("do_lower_case", false) && !tokenizer_lower_cases) {
      throw unsupported(file.path(), "do_lower_case true before a tokenizer that keeps the case",
                        "a tokenizer that lower-cases by itself");
    }
  }
  directory.max_tokens_ = longest;
  if (longest < 3) {
    throw Error(ErrorCode::format, {path}, "a limit of " + std::to_string(longest) + " tokens",
                "room for three tokens");
  }

  if (directory.has_file("config_sentence_transformers.json")) {
    const JsonFile file(directory.file("config_sentence_transformers.json"));
    if (file.has("prompts")) {
      if (!file.json()["prompts"].is_object()) {
        throw Error(ErrorCode::format, {file.path()}, "prompts that are no object", "texts by name");
      }
      for (const auto& [name, text] : file.json()["prompts"].items()) {
        if (!text.is_string()) throw Error(ErrorCode::format, {file.path()}, "prompt '" + name + "'", "a text");
        directory.prompts_[name] = text.get<std::string>();
      }
    }
    const std::string name = file.text_or("default_prompt_name", "");
    if (!name.empty()) {
      const auto found = directory.prompts_.find(name);
      if (found == directory.prompts_.end()) {
        throw Error(ErrorCode::format, {file.path()}, "default_prompt_name '" + name + "'", "a name among the prompts");
      }
      directory.prefix_ = found->second;
    }
  }
  const bool prompted = std::any_of(directory.prompts_.begin(), directory.prompts_.end(),
                                    [](const auto& prompt) { return !prompt.second.empty(); });
  if (prompted && !modules.includes_prompt) {
    throw unsupported(path, "a pooling that leaves out the prompt (include_prompt false)", "one that includes it");
  }
  directory.extras_ = parse_extras(directory);
  return directory;
}

std::string ModelDirectory::file(std::string_view name) const { return path_ + "/" + std::string(name); }

bool ModelDirectory::has_file(std::string_view name) const { return std::filesystem::is_regular_file(file(name)); }

void copy_companion_files(const ModelDirectory& source, const std::string& target) {
  namespace fs = std::filesystem;
  static constexpr const char* names[] = {"config.json",
                                          "modules.json",
                                          "sentence_bert_config.json",
                                          "config_sentence_transformers.json",
                                          "tokenizer.json",
                                          "tokenizer_config.json",
                                          "special_tokens_map.json",
                                          "vocab.txt",
                                          "sentencepiece.bpe.model",
                                          "added_tokens.json"};
  std::error_code status;
  fs::create_directories(target, status);
  if (status) throw system_error({target}, status.value(), "a directory that can be created");
  for (const char* name : names) {
    if (source.has_file(name)) write_file_atomically(target + "/" + name, read_file(source.file(name)));
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(source.path())) {
    // Module folders (1_Pooling, 2_Normalize) hold at most a config.json.
    const std::string folder = entry.path().filename().string();
    if (!entry.is_directory() || !source.has_file(folder + "/config.json")) continue;
    fs::create_directories(target + "/" + folder, status);
    if (status) throw system_error({target + "/" + folder}, status.value(), "a directory that can be created");
    write_file_atomically(target + "/" + folder + "/config.json", read_file(source.file(folder + "/config.json")));
  }
}

}  // namespace promptcache
