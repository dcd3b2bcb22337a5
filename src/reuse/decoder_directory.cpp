#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "model/json_file.hpp"
#include "promptcache/model/safetensors.hpp"
#include "reuse/decoder_source.hpp"

namespace promptcache::reuse {
namespace {

Error unsupported(const JsonFile& file, const std::string& found, const std::string& wanted) {
  return {ErrorCode::unsupported, {file.path()}, found, wanted};
}

/// Refuses a value of config.json that changes what is computed.
void require(const JsonFile& file, const char* key, const Json& wanted) {
  const Json& found = json_at(file.json(), key);
  if (!found.is_null() && found != wanted) {
    throw unsupported(file, std::string(key) + " " + found.dump().substr(0, 60), wanted.dump());
  }
}

/// The scaling of Llama 3.1: low frequencies are divided, high ones are not, and those between in part.
void scale_as_llama3(const JsonFile& file, const Json& scaling, std::vector<double>& frequencies) {
  const auto number = [&](const char* key) {
    const Json& value = json_at(scaling, key);
    if (!value.is_number() || !(value.get<double>() > 0)) {
      throw Error(ErrorCode::format, {file.path()}, "no usable '" + std::string(key) + "' of rotary positions",
                  "a number above zero");
    }
    return value.get<double>();
  };
  const double factor = number("factor"), low = number("low_freq_factor"), high = number("high_freq_factor");
  const double context = number("original_max_position_embeddings");
  if (!(low < high)) {
    throw Error(ErrorCode::format, {file.path()}, "low_freq_factor not below high_freq_factor", "one below the other");
  }
  for (double& frequency : frequencies) {
    const double turns = context * frequency / (2 * 3.14159265358979323846);
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    frequency = kept * frequency + (1 - kept) * frequency / factor;
  }
}

void read_rope(const JsonFile& file, DecoderConfig& config) {
  // Newer files have all of it under rope_parameters.
  const char* key = file.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const Json& scaling = json_at(file.json(), key);
  const Json& inner_base = json_at(scaling, "rope_theta");
  const double base = inner_base.is_number() ? inner_base.get<double>() : file.number_or("rope_theta", 10000);
  config.rope = rope_frequencies(base, config.head_size);
  if (scaling.is_null()) return;
  const Json& type = scaling.contains("rope_type") ? scaling["rope_type"] : json_at(scaling, "type");
  if (type == "linear" && json_at(scaling, "factor").is_number()) {
    scale_linearly(config.rope, scaling["factor"].get<double>());
  } else if (type == "llama3") {
    scale_as_llama3(file, scaling, config.rope);
  } else if (type != "default") {
    throw unsupported(file, std::string(key) + " of type " + type.dump(), "default, linear or llama3");
  }
}

void read_llama(const JsonFile& file, DecoderConfig& config) {
  config.family = DecoderFamily::llama;
  require(file, "hidden_act", "silu");
  config.width = file.size("hidden_size");
  config.layers = file.size("num_hidden_layers");
  config.heads = file.size("num_attention_heads");
  config.kv_heads = file.size_or("num_key_value_heads", config.heads);
  config.head_size = file.size_or("head_dim", config.heads == 0 ? 0 : config.width / config.heads);
  config.inner = file.size("intermediate_size");
  config.context = file.size("max_position_embeddings");
  config.norm_eps = static_cast<float>(file.number_or("rms_norm_eps", 1e-6));
  config.tied = file.flag_or("tie_word_embeddings", false);
  check_config(file.path(), config);
  read_rope(file, config);
}

void read_gpt2(const JsonFile& file, DecoderConfig& config) {
  config.family = DecoderFamily::gpt2;
  require(file, "activation_function", "gelu_new");
  require(file, "scale_attn_weights", true);
  require(file, "scale_attn_by_inverse_layer_idx", false);
  require(file, "reorder_and_upcast_attn", false);
  config.width = file.size("n_embd");
  config.layers = file.size("n_layer");
  config.heads = config.kv_heads = file.size("n_head");
  config.head_size = config.heads == 0 ? 0 : config.width / config.heads;
  config.inner = file.size_or("n_inner", 4 * config.width);
  config.context = file.size_or("n_positions", file.size_or("n_ctx", 0));
  config.norm_eps = static_cast<float>(file.number_or("layer_norm_epsilon", 1e-5));
  config.tied = file.flag_or("tie_word_embeddings", true);
}

/// Slopes of ALiBi (arXiv 2108.12409) for a number of heads that need not be a power of two.
std::vector<float> alibi_slopes(std::size_t heads, double most) {
  std::size_t power = 1;
  while (power < heads) power *= 2;
  const auto slope = [&](std::size_t i) {
    return static_cast<float>(std::pow(2.0, -most * static_cast<double>(i + 1) / static_cast<double>(power)));
  };
  std::vector<float> slopes;
  if (power == heads) {
    for (std::size_t i = 0; i < heads; ++i) slopes.push_back(slope(i));
  } else {  // every other one of the next power of two first
    for (std::size_t i = 1; i < power; i += 2) slopes.push_back(slope(i));
    for (std::size_t i = 0; i < power; i += 2) slopes.push_back(slope(i));
    slopes.resize(heads);
  }
  return slopes;
}

void read_mpt(const JsonFile& file, DecoderConfig& config) {
  config.family = DecoderFamily::mpt;
  const Json& attention = json_at(file.json(), "attn_config");
  const auto attention_flag = [&](const char* key) { return json_at(attention, key) == true; };
  if (!attention_flag("alibi")) throw unsupported(file, "attn_config without alibi", "ALiBi positions");
  for (const char* key : {"qk_ln", "prefix_lm"}) {
    if (attention_flag(key)) throw unsupported(file, std::string("attn_config with ") + key, "none of it");
  }
  for (const char* key : {"clip_qkv", "softmax_scale"}) {
    if (!json_at(attention, key).is_null()) throw unsupported(file, std::string("attn_config with ") + key, "none");
  }
  if (const Json& kind = json_at(attention, "attn_type"); !kind.is_null() && kind != "multihead_attention") {
    throw unsupported(file, "attn_type " + kind.dump(), "multihead_attention");
  }
  require(file, "no_bias", true);
  config.width = file.size("d_model");
  config.layers = file.size("n_layers");
  config.heads = config.kv_heads = file.size("n_heads");
  config.head_size = config.heads == 0 ? 0 : config.width / config.heads;
  config.inner = file.size_or("expansion_ratio", 4) * config.width;
  config.context = file.size("max_seq_len");
  config.norm_eps = static_cast<float>(file.number_or("layer_norm_epsilon", 1e-5));
  config.tied = file.flag_or("tie_word_embeddings", true);
  const Json& most = json_at(attention, "alibi_bias_max");
  config.alibi = alibi_slopes(config.heads, most.is_number() ? most.get<double>() : 8);
}

DecoderConfig read_config(const JsonFile& file) {
  DecoderConfig config;
  config.vocabulary = file.size("vocab_size");
  const std::string type = file.text_or("model_type", "");
  if (type == "llama") {
    read_llama(file, config);
  } else if (type == "gpt2") {
    read_gpt2(file, config);
  } else if (type == "mpt") {
    read_mpt(file, config);
  } else {
    throw unsupported(file, "model_type '" + type + "'", "llama, gpt2 or mpt");
  }
  if (!json_at(file.json(), "quantization_config").is_null()) {
    throw unsupported(file, "quantised weights", "f32, f16 or bf16");
  }
  return config;
}

/// The tokens that end a text: generation_config.json knows them best.
std::vector<std::int32_t> read_ends(const std::string& directory, const JsonFile& config) {
  const auto ends_of = [](const JsonFile& file) {
    std::vector<std::int32_t> ends;
    const Json& value = json_at(file.json(), "eos_token_id");
    const Json list = value.is_array() ? value : value.is_null() ? Json::array() : Json::array({value});
    for (const Json& id : list) {
      if (!id.is_number_integer()) throw Error(ErrorCode::format, {file.path()}, "eos_token_id " + id.dump(), "an id");
      ends.push_back(id.get<std::int32_t>());
    }
    return ends;
  };
  const std::string generation = directory + "/generation_config.json";
  std::vector<std::int32_t> ends;
  if (std::filesystem::exists(generation)) ends = ends_of(JsonFile(generation));
  return ends.empty() ? ends_of(config) : ends;
}

std::string llama_name(DecoderPart part) {
  switch (part) {
    case DecoderPart::attention_norm: return "input_layernorm.weight";
    case DecoderPart::query: return "self_attn.q_proj.weight";
    case DecoderPart::query_bias: return "self_attn.q_proj.bias";
    case DecoderPart::key: return "self_attn.k_proj.weight";
    case DecoderPart::key_bias: return "self_attn.k_proj.bias";
    case DecoderPart::value: return "self_attn.v_proj.weight";
    case DecoderPart::value_bias: return "self_attn.v_proj.bias";
    case DecoderPart::attention_output: return "self_attn.o_proj.weight";
    case DecoderPart::attention_output_bias: return "self_attn.o_proj.bias";
    case DecoderPart::inner_norm: return "post_attention_layernorm.weight";
    case DecoderPart::gate: return "mlp.gate_proj.weight";
    case DecoderPart::gate_bias: return "mlp.gate_proj.bias";
    case DecoderPart::up: return "mlp.up_proj.weight";
    case DecoderPart::up_bias: return "mlp.up_proj.bias";
    case DecoderPart::down: return "mlp.down_proj.weight";
    case DecoderPart::down_bias: return "mlp.down_proj.bias";
    default: return {};
  }
}

std::string gpt2_name(DecoderPart part) {
  switch (part) {
    case DecoderPart::attention_norm: return "ln_1.weight";
    case DecoderPart::attention_norm_bias: return "ln_1.bias";
    case DecoderPart::query:
    case DecoderPart::key:
    case DecoderPart::value: return "attn.c_attn.weight";
    case DecoderPart::query_bias:
    case DecoderPart::key_bias:
    case DecoderPart::value_bias: return "attn.c_attn.bias";
    case DecoderPart::attention_output: return "attn.c_proj.weight";
    case DecoderPart::attention_output_bias: return "attn.c_proj.bias";
    case DecoderPart::inner_norm: return "ln_2.weight";
    case DecoderPart::inner_norm_bias: return "ln_2.bias";
    case DecoderPart::up: return "mlp.c_fc.weight";
    case DecoderPart::up_bias: return "mlp.c_fc.bias";
    case DecoderPart::down: return "mlp.c_proj.weight";
    case DecoderPart::down_bias: return "mlp.c_proj.bias";
    default: return {};
  }
}

std::string mpt_name(DecoderPart part) {
  switch (part) {
    case DecoderPart::attention_norm: return "norm_1.weight";
    case DecoderPart::query:
    case DecoderPart::key:
    case DecoderPart::value: return "attn.Wqkv.weight";
    case DecoderPart::attention_output: return "attn.out_proj.weight";
    case DecoderPart::inner_norm: return "norm_2.weight";
    case DecoderPart::up: return "ffn.up_proj.weight";
    case DecoderPart::down: return "ffn.down_proj.weight";
    default: return {};
  }
}

std::string name_outside_layers(DecoderFamily family, DecoderPart part) {
  const bool llama = family == DecoderFamily::llama;
  switch (part) {
    case DecoderPart::words: return llama ? "model.embed_tokens.weight" : "transformer.wte.weight";
    case DecoderPart::positions: return family == DecoderFamily::gpt2 ? "transformer.wpe.weight" : "";
    case DecoderPart::final_norm:
      return llama                           ? "model.norm.weight"
             : family == DecoderFamily::gpt2 ? "transformer.ln_f.weight"
                                             : "transformer.norm_f.weight";
    case DecoderPart::final_norm_bias: return family == DecoderFamily::gpt2 ? "transformer.ln_f.bias" : "";
    case DecoderPart::output: return "lm_head.weight";
    default: return {};
  }
}

struct DirectorySource final : DecoderFile::Source {
  explicit DirectorySource(const std::string& directory) {
    path = directory;
    const JsonFile file(directory + "/config.json");
    config = read_config(file);
    config.ends = read_ends(directory, file);
    Sha256 hash;
    hash.field("config", read_file(file.path()));
    const std::string index = directory + "/model.safetensors.index.json";
    std::set<std::string> names = {"model.safetensors"};
    if (std::filesystem::exists(index)) names = shards_of(JsonFile(index));
    for (const std::string& name : names) {
      shards.push_back(SafetensorsFile::open(directory + "/" + name));
      hash.field("weights", sha256_file(shards.back().path()).view());
    }
    identity = hash.finish();
    if (!contains(prefixed("transformer.wte.weight"))) prefix_dropped = true;  // as GPT-2 was published
  }

  static std::set<std::string> shards_of(const JsonFile& index) {
    const Json& map = json_at(index.json(), "weight_map");
    std::set<std::string> names;
    for (const auto& [tensor, name] : map.items()) {
      const std::string text = name.is_string() ? name.get<std::string>() : "";
      if (text.empty() || text.find('/') != std::string::npos) {
        throw Error(ErrorCode::format, {index.path()}, "'" + tensor + "' in " + name.dump(),
                    "the name of a file beside it");
      }
      names.insert(text);
    }
    if (names.empty()) throw Error(ErrorCode::format, {index.path()}, "no weight_map", "files by tensor");
    return names;
  }

  const SafetensorsFile* shard_with(const std::string& tensor) const {
    const auto found =
        std::ranges::find_if(shards, [&](const SafetensorsFile& shard) { return shard.contains(tensor); });
    return found == shards.end() ? nullptr : &*found;
  }
  bool contains(const std::string& tensor) const override { return shard_with(tensor) != nullptr; }
  std::vector<float> read(const std::string& tensor, std::span<const std::size_t> shape) const override {
    const SafetensorsFile* shard = shard_with(tensor);
    return (shard != nullptr ? *shard : shards.front()).read_f32(tensor, shape);
  }

  std::string prefixed(const std::string& name) const {
    constexpr std::string_view prefix = "transformer.";
    return prefix_dropped && name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  }

  std::optional<StoredPart> stored(DecoderPart part, std::size_t layer) const override {
    const DecoderFamily family = config.family;
    const bool of_layer = part >= DecoderPart::attention_norm && part <= DecoderPart::down_bias;
    if (!of_layer) {
      const std::string name = name_outside_layers(family, part);
      return name.empty() ? std::nullopt : std::optional(StoredPart{prefixed(name)});
    }
    const std::string name = family == DecoderFamily::llama  ? llama_name(part)
                             : family == DecoderFamily::gpt2 ? gpt2_name(part)
                                                             : mpt_name(part);
    if (name.empty()) return std::nullopt;
    const std::string number = std::to_string(layer);
    if (family == DecoderFamily::llama) return StoredPart{"model.layers." + number + "." + name};
    StoredPart result{
        prefixed((family == DecoderFamily::gpt2 ? "transformer.h." : "transformer.blocks.") + number + "." + name)};
    place_inside(part, result);
    return result;
  }

  /// Queries, keys and values are one matrix in both other families; GPT-2 has its matrices on their side.
  void place_inside(DecoderPart part, StoredPart& stored) const {
    const std::size_t width = config.width;
    std::size_t third = 3;
    if (part == DecoderPart::query || part == DecoderPart::query_bias) third = 0;
    if (part == DecoderPart::key || part == DecoderPart::key_bias) third = 1;
    if (part == DecoderPart::value || part == DecoderPart::value_bias) third = 2;
    if (third < 3) stored.first_row = third * width;
    const bool is_bias =
        part == DecoderPart::query_bias || part == DecoderPart::key_bias || part == DecoderPart::value_bias;
    if (third < 3 && is_bias) stored.shape = {3 * width};
    const bool is_matrix =
        third < 3 ? !is_bias
                  : part == DecoderPart::attention_output || part == DecoderPart::up || part == DecoderPart::down;
    if (!is_matrix) return;
    const std::size_t out = third < 3 ? 3 * width : part == DecoderPart::up ? config.inner : width;
    const std::size_t in = part == DecoderPart::down ? config.inner : width;
    stored.transposed = config.family == DecoderFamily::gpt2;
    stored.shape = stored.transposed ? std::vector{in, out} : std::vector{out, in};
  }

  std::shared_ptr<const BpeTokenizer> tokenizer() const override {
    return BpeTokenizer::open(path + "/tokenizer.json");
  }

  std::string chat_template() const override {
    const std::string separate = path + "/chat_template.jinja";
    if (std::filesystem::exists(separate)) return read_file(separate);
    const std::string config_path = path + "/tokenizer_config.json";
    if (!std::filesystem::exists(config_path)) return {};
    return JsonFile(config_path).text_or("chat_template", "");
  }

  std::vector<SafetensorsFile> shards;
  bool prefix_dropped = false;
};

}  // namespace

std::shared_ptr<const DecoderFile::Source> open_directory(const std::string& path) {
  return std::make_shared<const DirectorySource>(path);
}

}  // namespace promptcache::reuse
