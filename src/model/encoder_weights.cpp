#include "promptcache/model/encoder_weights.hpp"

#include <deque>
#include <string>

#include "promptcache/base/error.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/safetensors.hpp"

namespace promptcache {
namespace {

constexpr const char* words_name = "embeddings.word_embeddings.weight";

std::string weights_file(const ModelDirectory& directory) {
  std::string path = directory.file("model.safetensors");
  if (directory.has_file("model.safetensors")) return path;
  for (const char* other : {"model.safetensors.index.json", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"}) {
    if (directory.has_file(other)) {
      throw Error(ErrorCode::unsupported, {directory.path()}, std::string(other) + " and no model.safetensors",
                  "the weights in one file model.safetensors");
    }
  }
  throw Error(ErrorCode::not_found, {path}, "no such file", "the model's weights");
}

/// The prefix in front of "embeddings.word_embeddings.weight": checkpoints with a task head have one.
std::string name_prefix(const SafetensorsFile& file) {
  for (const char* prefix : {"", "bert.", "roberta.", "model.", "encoder."}) {
    if (file.contains(std::string(prefix) + words_name)) return prefix;
  }
  throw Error(ErrorCode::not_found, {file.path()}, "no tensor '" + std::string(words_name) + "'",
              "the weights of a BERT or XLM-RoBERTa encoder");
}

}  // namespace

void for_each_encoder_tensor(const EncoderConfig& config, EncoderWeights& weights, const EncoderTensorVisitor& visit) {
  const std::size_t h = config.hidden_size;
  const std::size_t f = config.intermediate_size;
  weights.layers.resize(config.layers);
  visit(words_name, {config.vocabulary_size, h}, weights.word_embeddings);
  visit("embeddings.position_embeddings.weight", {config.position_rows, h}, weights.position_embeddings);
  visit("embeddings.token_type_embeddings.weight", {config.type_vocabulary_size, h}, weights.token_type_embeddings);
  visit("embeddings.LayerNorm.weight", {h}, weights.embedding_norm_weight);
  visit("embeddings.LayerNorm.bias", {h}, weights.embedding_norm_bias);
  for (std::size_t i = 0; i < config.layers; ++i) {
    EncoderLayerWeights& layer = weights.layers[i];
    const std::string at = "encoder.layer." + std::to_string(i) + ".";
    visit(at + "attention.self.query.weight", {h, h}, layer.query_weight);
    visit(at + "attention.self.query.bias", {h}, layer.query_bias);
    visit(at + "attention.self.key.weight", {h, h}, layer.key_weight);
    visit(at + "attention.self.key.bias", {h}, layer.key_bias);
    visit(at + "attention.self.value.weight", {h, h}, layer.value_weight);
    visit(at + "attention.self.value.bias", {h}, layer.value_bias);
    visit(at + "attention.output.dense.weight", {h, h}, layer.attention_output_weight);
    visit(at + "attention.output.dense.bias", {h}, layer.attention_output_bias);
    visit(at + "attention.output.LayerNorm.weight", {h}, layer.attention_norm_weight);
    visit(at + "attention.output.LayerNorm.bias", {h}, layer.attention_norm_bias);
    visit(at + "intermediate.dense.weight", {f, h}, layer.intermediate_weight);
    visit(at + "intermediate.dense.bias", {f}, layer.intermediate_bias);
    visit(at + "output.dense.weight", {h, f}, layer.output_weight);
    visit(at + "output.dense.bias", {h}, layer.output_bias);
    visit(at + "output.LayerNorm.weight", {h}, layer.output_norm_weight);
    visit(at + "output.LayerNorm.bias", {h}, layer.output_norm_bias);
  }
}

EncoderWeights load_encoder_weights(const ModelDirectory& directory) {
  const SafetensorsFile file = SafetensorsFile::open(weights_file(directory));
  const std::string prefix = name_prefix(file);
  EncoderWeights weights;
  for_each_encoder_tensor(directory.encoder(), weights,
                          [&](const std::string& name, const std::vector<std::size_t>& shape,
                              std::vector<float>& values) { values = file.read_f32(prefix + name, shape); });
  return weights;
}

std::optional<MappedWords> map_word_embeddings(const ModelDirectory& directory) {
  auto file = std::make_shared<const SafetensorsFile>(SafetensorsFile::open(weights_file(directory)));
  const EncoderConfig& config = directory.encoder();
  const std::size_t shape[] = {config.vocabulary_size, config.hidden_size};
  const std::span<const float> values = file->mapped_f32(name_prefix(*file) + words_name, shape);
  if (values.empty()) return std::nullopt;
  return MappedWords{std::move(file), values};
}

void write_encoder_weights(const std::string& path, const ModelDirectory& source, EncoderWeights& weights) {
  std::vector<NamedTensor> tensors;
  for_each_encoder_tensor(
      source.encoder(), weights,
      [&](const std::string& name, const std::vector<std::size_t>& shape, std::vector<float>& values) {
        tensors.push_back({name, shape, values});
      });
  const SafetensorsFile file = SafetensorsFile::open(weights_file(source));
  const std::string prefix = name_prefix(file);
  std::deque<std::vector<float>> pooler;  // stay where they are
  for (const std::string name : {"pooler.dense.weight", "pooler.dense.bias"}) {
    if (!file.contains(prefix + name)) continue;
    const std::vector<std::size_t>& shape = file.tensors().find(prefix + name)->second.shape;
    pooler.push_back(file.read_f32(prefix + name, shape));
    tensors.push_back({name, shape, pooler.back()});
  }
  write_safetensors(path, tensors, {{"format", "pt"}});
}

}  // namespace promptcache
