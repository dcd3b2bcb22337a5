#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "promptcache/model/encoder_weights.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/pair_head.hpp"

namespace promptcache::train {

/// Token ids of one text, or of two as one input.
struct TokenSequence {
  std::span<const std::int32_t> ids;
  std::optional<std::size_t> second_text = {};  ///< first token of the second one, of token type 1
};

/// A batch of token sequences without padding: all tokens one behind the other.
struct TokenBatch {
  torch::Tensor ids;                  ///< int64 [tokens]
  torch::Tensor positions;            ///< int64 [tokens], rows of the position embedding
  torch::Tensor types;                ///< int64 [tokens], rows of the token type embedding; undefined: all 0
  torch::Tensor slots;                ///< int64 [tokens], place of each token in the padded [texts * longest] grid
  torch::Tensor mask;                 ///< f32 [texts, 1, 1, longest], 0 for a token and -inf-like for padding
  std::vector<std::int64_t> lengths;  ///< tokens of each text
  std::int64_t texts = 0;
  std::int64_t longest = 0;
};

/// How a batch is run.
struct ForwardOptions {
  bool training = false;         ///< dropout at the rates of config.json
  std::uint64_t seed = 0;        ///< of the dropout on the CPU; elsewhere LibTorch's own generator draws
  torch::Tensor word_rows = {};  ///< the tokens' word embeddings [tokens, hidden], when the caller wants their gradient
  bool reference = false;        ///< LibTorch's own operations on the CPU too, the oracle of ours
  bool bf16 = false;             ///< products with weights in bf16, all else in f32
};

/// Packs sequences (none empty) for `config` on `device`.
TokenBatch pack(std::span<const TokenSequence> sequences, const EncoderConfig& config, torch::Device device);

/// The BERT / XLM-RoBERTa encoder as a differentiable function, with pooling, or with a head that makes one number of
/// two texts read together; without work on padding on the CPU, on other devices attention works on a padded grid.
/// `forward` is safe from many threads.
class Encoder {
 public:
  Encoder(const ModelDirectory& directory, const EncoderWeights& weights, torch::Device device,
          const std::optional<PairHead>& head = {});

  /// Sentence vectors [texts, hidden], L2-normalised, or with a head logits [texts, 1].
  torch::Tensor forward(const TokenBatch& batch, const ForwardOptions& options = {}) const;

  bool reads_pairs() const { return head_at_.has_value(); }
  std::int64_t outputs() const { return reads_pairs() ? 1 : static_cast<std::int64_t>(config_.hidden_size); }

  /// All weights, in the order of `for_each_encoder_tensor`, then those of the head, with their names.
  const std::vector<torch::Tensor>& parameters() const { return parameters_; }
  const std::vector<std::string>& names() const { return names_; }
  const EncoderConfig& config() const { return config_; }
  torch::Device device() const { return parameters_.front().device(); }

  /// Copies the current weights out, for writing a model.
  EncoderWeights weights() const;
  PairHead head() const;  ///< of an encoder that has one

 private:
  struct Pass;  // one forward pass: its options and where its dropout stands
  torch::Tensor linear(const torch::Tensor& x, std::size_t at, const Pass& pass) const;
  torch::Tensor layer_norm(const torch::Tensor& x, std::size_t at) const;
  torch::Tensor attention(const torch::Tensor& x, std::size_t first, const TokenBatch& batch, Pass& pass) const;
  torch::Tensor layer(const torch::Tensor& x, std::size_t first, const TokenBatch& batch, Pass& pass) const;
  torch::Tensor logits(const torch::Tensor& first_tokens, Pass& pass) const;

  EncoderConfig config_;
  Pooling pooling_;
  std::vector<torch::Tensor> parameters_;
  std::vector<std::string> names_;
  std::optional<std::size_t> head_at_;  // among the parameters
};

}  // namespace promptcache::train
