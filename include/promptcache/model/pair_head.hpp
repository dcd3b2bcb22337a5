#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "promptcache/model/encoder_weights.hpp"

namespace promptcache {

/// What makes one number of the first token's vector: a dense layer with tanh, and an output. BERT's pooler and
/// classifier; in XLM-RoBERTa the two layers of its classification head.
struct PairHead {
  std::vector<float> dense_weight;   ///< [hidden, hidden], row-major, [out, in]
  std::vector<float> dense_bias;     ///< [hidden]
  std::vector<float> output_weight;  ///< [hidden]
  std::vector<float> output_bias;    ///< [1]

  /// Of a vector [hidden].
  float logit(std::span<const float> first_token) const;
};

/// Visits the tensors of the head with their Hugging Face names, as `for_each_encoder_tensor`.
void for_each_head_tensor(const EncoderConfig& config, PairHead& head, const EncoderTensorVisitor& visit);

/// Whether config.json says that the directory is a sequence classifier, of whatever number of outputs.
bool is_sequence_classifier(const ModelDirectory& directory);

/// A head to begin training with: the dense layer is the encoder's own pooler where its file has one, all else normal
/// with deviation 0.02, drawn by `seed`.
PairHead starting_pair_head(const ModelDirectory& directory, std::uint64_t seed);

/// Reads the head of a Hugging Face sequence classifier with one output. Throws `Error`: unsupported for a directory
/// that is none, naming what its config.json says, and what reading tensors throws.
PairHead load_pair_head(const ModelDirectory& directory);

/// Writes model.safetensors of a sequence classifier, with the names Hugging Face gives them. Same weights, same bytes.
/// Throws `Error` as `write_safetensors`.
void write_pair_scorer_weights(const std::string& path, const ModelDirectory& source, EncoderWeights& weights,
                               PairHead& head);

/// Writes the files around the weights of a sequence classifier that is made from the encoder `source`: config.json
/// with one label, and the tokenizer's. Creates `target`. Throws `Error(io)`.
void copy_pair_scorer_files(const ModelDirectory& source, const std::string& target);

}  // namespace promptcache
