#include <algorithm>

#include "promptcache/model/gguf.hpp"
#include "reuse/decoder_source.hpp"

namespace promptcache::reuse {
namespace {

constexpr const char* rope_factors = "rope_freqs.weight";

std::string name_of(DecoderPart part) {
  switch (part) {
    case DecoderPart::words: return "token_embd.weight";
    case DecoderPart::output: return "output.weight";
    case DecoderPart::final_norm: return "output_norm.weight";
    case DecoderPart::attention_norm: return "attn_norm.weight";
    case DecoderPart::query: return "attn_q.weight";
    case DecoderPart::query_bias: return "attn_q.bias";
    case DecoderPart::key: return "attn_k.weight";
    case DecoderPart::key_bias: return "attn_k.bias";
    case DecoderPart::value: return "attn_v.weight";
    case DecoderPart::value_bias: return "attn_v.bias";
    case DecoderPart::attention_output: return "attn_output.weight";
    case DecoderPart::attention_output_bias: return "attn_output.bias";
    case DecoderPart::inner_norm: return "ffn_norm.weight";
    case DecoderPart::gate: return "ffn_gate.weight";
    case DecoderPart::up: return "ffn_up.weight";
    case DecoderPart::down: return "ffn_down.weight";
    default: return {};
  }
}

struct GgufSource final : DecoderFile::Source {
  explicit GgufSource(const std::string& file) : gguf(GgufFile::open(file)) {
    path = file;
    const std::string& architecture = gguf.text("general.architecture");
    if (architecture != "llama") {
      throw Error(ErrorCode::unsupported, {file}, "architecture '" + architecture + "'", "llama");
    }
    if (gguf.number_or("llama.expert_count", 0) > 0) {
      throw Error(ErrorCode::unsupported, {file}, "a mixture of experts", "a dense model");
    }
    config.width = size("llama.embedding_length");
    config.layers = size("llama.block_count");
    config.heads = size("llama.attention.head_count");
    config.kv_heads = size_or("llama.attention.head_count_kv", config.heads);
    config.head_size = size_or("llama.attention.key_length", config.heads == 0 ? 0 : config.width / config.heads);
    config.inner = size("llama.feed_forward_length");
    config.context = size("llama.context_length");
    config.norm_eps = static_cast<float>(gguf.number("llama.attention.layer_norm_rms_epsilon"));
    const auto words = gguf.tensors().find("token_embd.weight");
    if (words == gguf.tensors().end() || words->second.shape.empty()) {
      throw Error(ErrorCode::not_found, {file}, "no tensor token_embd.weight", "the word embedding");
    }
    config.vocabulary = words->second.shape[0];
    config.tied = !gguf.contains("output.weight");
    if (size_or("llama.rope.dimension_count", config.head_size) != config.head_size) {
      throw Error(ErrorCode::unsupported, {file}, "rotary positions on a part of each head", "on all of it");
    }
    check_config(file, config);
    read_rope();
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      if (gguf.metadata().contains(key)) config.ends.push_back(static_cast<std::int32_t>(size(key)));
    }
    identity = sha256_file(file);
  }

  void read_rope() {
    config.rope = rope_frequencies(gguf.number_or("llama.rope.freq_base", 10000), config.head_size);
    const auto kind = gguf.metadata().find("llama.rope.scaling.type");
    const std::string scaling = kind == gguf.metadata().end() ? "none" : gguf.text("llama.rope.scaling.type");
    if (scaling == "linear") {
      scale_linearly(config.rope, gguf.number("llama.rope.scaling.factor"));
    } else if (scaling != "none") {
      throw Error(ErrorCode::unsupported, {path}, "rotary positions scaled by '" + scaling + "'", "linear or none");
    }
    if (!gguf.contains(rope_factors)) return;
    const std::size_t count[] = {config.rope.size()};
    const std::vector<float> factors = gguf.read_f32(rope_factors, count);
    for (std::size_t i = 0; i < factors.size(); ++i) config.rope[i] /= static_cast<double>(factors[i]);
  }

  std::size_t size(const char* key) const {
    const double value = gguf.number(key);
    if (!(value >= 0 && value <= 1U << 30) || value != static_cast<double>(static_cast<std::size_t>(value))) {
      throw Error(ErrorCode::format, {path}, std::string(key) + " = " + std::to_string(value), "a whole number");
    }
    return static_cast<std::size_t>(value);
  }
  std::size_t size_or(const char* key, std::size_t otherwise) const {
    return gguf.metadata().contains(key) ? size(key) : otherwise;
  }

  bool contains(const std::string& tensor) const override { return gguf.contains(tensor); }
  std::vector<float> read(const std::string& tensor, std::span<const std::size_t> shape) const override {
    return gguf.read_f32(tensor, shape);
  }

  std::optional<StoredPart> stored(DecoderPart part, std::size_t layer) const override {
    StoredPart result{name_of(part)};
    if (result.name.empty()) return std::nullopt;
    const bool of_layer = part >= DecoderPart::attention_norm && part <= DecoderPart::down_bias;
    if (of_layer) result.name = "blk." + std::to_string(layer) + "." + result.name;
    const bool query = part == DecoderPart::query || part == DecoderPart::query_bias;
    const bool key = part == DecoderPart::key || part == DecoderPart::key_bias;
    if (query || key) result.interleaved_heads = query ? config.heads : config.kv_heads;
    return result;
  }

  std::shared_ptr<const BpeTokenizer> tokenizer() const override { return BpeTokenizer::from_gguf(gguf); }
  std::string chat_template() const override {
    constexpr const char* key = "tokenizer.chat_template";
    return gguf.metadata().contains(key) ? gguf.text(key) : std::string();
  }

  GgufFile gguf;
};

}  // namespace

std::shared_ptr<const DecoderFile::Source> open_gguf(const std::string& path) {
  return std::make_shared<const GgufSource>(path);
}

}  // namespace promptcache::reuse
