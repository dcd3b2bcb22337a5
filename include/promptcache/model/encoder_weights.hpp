#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace promptcache {

class ModelDirectory;
class SafetensorsFile;
struct EncoderConfig;

/// Weights of one transformer layer, as stored: matrices row-major [out, in], vectors [out].
struct EncoderLayerWeights {
  std::vector<float> query_weight, query_bias;
  std::vector<float> key_weight, key_bias;
  std::vector<float> value_weight, value_bias;
  std::vector<float> attention_output_weight, attention_output_bias;
  std::vector<float> attention_norm_weight, attention_norm_bias;
  std::vector<float> intermediate_weight, intermediate_bias;
  std::vector<float> output_weight, output_bias;
  std::vector<float> output_norm_weight, output_norm_bias;
};

/// Weights of a BERT or XLM-RoBERTa encoder in f32, without the pooler.
struct EncoderWeights {
  std::vector<float> word_embeddings;        ///< [vocabulary_size, hidden_size]
  std::vector<float> position_embeddings;    ///< [position_rows, hidden_size]
  std::vector<float> token_type_embeddings;  ///< [type_vocabulary_size, hidden_size]
  std::vector<float> embedding_norm_weight, embedding_norm_bias;
  std::vector<EncoderLayerWeights> layers;
};

/// Reads model.safetensors. Throws `Error` naming file and tensor: not_found, mismatch (shape), unsupported
/// (element type), numeric (NaN or infinity).
EncoderWeights load_encoder_weights(const ModelDirectory& directory);

/// The table of words, [vocabulary_size, hidden_size], where it lies in the mapped file.
struct MappedWords {
  std::shared_ptr<const SafetensorsFile> file;
  std::span<const float> values;
};

/// Reads nothing and checks nothing but the shape; nothing when the table cannot be used in place (another type, or no
/// alignment). Throws `Error`: not_found, mismatch.
std::optional<MappedWords> map_word_embeddings(const ModelDirectory& directory);

/// Called with the Hugging Face name, the shape and the values of one tensor.
using EncoderTensorVisitor =
    std::function<void(const std::string& name, const std::vector<std::size_t>& shape, std::vector<float>& values)>;

/// Visits every tensor of an encoder of this shape in one fixed order: the single list of names and shapes that
/// reading, training and writing share. Sizes `weights.layers` to the configuration first.
void for_each_encoder_tensor(const EncoderConfig& config, EncoderWeights& weights, const EncoderTensorVisitor& visit);

/// Writes model.safetensors (F32, names without a prefix) of a model made from `source`, whose pooler is kept as it is:
/// nothing here uses it, but other loaders miss it. Same weights, same bytes. Throws `Error` as `write_safetensors`.
void write_encoder_weights(const std::string& path, const ModelDirectory& source, EncoderWeights& weights);

}  // namespace promptcache
