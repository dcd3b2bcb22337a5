#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace promptcache {

/// Encoder families this library runs.
enum class Architecture { bert, xlm_roberta };

/// How token vectors become one sentence vector.
enum class Pooling { mean, cls };

/// Activation of the feed-forward block.
enum class Activation { gelu, gelu_tanh, relu };

/// Shape of the encoder, from config.json.
struct EncoderConfig {
  Architecture architecture = Architecture::bert;
  std::size_t hidden_size = 0;
  std::size_t layers = 0;
  std::size_t heads = 0;
  std::size_t intermediate_size = 0;
  std::size_t vocabulary_size = 0;  ///< rows of the word embedding
  std::size_t position_rows = 0;    ///< rows of the position embedding
  std::size_t position_offset = 0;  ///< row of the first token: 0 for BERT, padding id + 1 for XLM-RoBERTa
  std::size_t type_vocabulary_size = 0;
  std::int32_t padding_id = 0;
  float layer_norm_eps = 1e-12F;
  Activation activation = Activation::gelu;
  float hidden_dropout = 0.1F;     ///< used by training only
  float attention_dropout = 0.1F;  ///< used by training only

  /// Most tokens the position table can serve.
  std::size_t max_positions() const noexcept { return position_rows - position_offset; }
  std::size_t head_size() const noexcept { return hidden_size / heads; }
};

/// A threshold that pc-calibrate verified on pairs drawn as deployed.
struct VerifiedThreshold {
  double threshold = 0;          ///< serve similarities strictly above it
  double target_wrong_hits = 0;  ///< the rate of wrong hits that it was tested against
  double confidence = 0;
  double upper_bound = 0;  ///< of the rate of wrong hits, with this confidence; at most the target
};

/// Our own extras beside the model, promptcache.json. Every field is optional: an untouched model has none.
struct ModelExtras {
  std::optional<double> lambda;  ///< temperature of P = sigma(s / lambda - c), arXiv 2402.01173
  std::optional<double> offset;  ///< c of the same formula
  std::optional<VerifiedThreshold> verified;
  std::string cascade;              ///< JSON of a calibrated cascade as `CascadePolicy::open` reads it; empty: none
  std::string calibrated_embedder;  ///< hexadecimal identity of the embedder they were calibrated with; empty: not said
};

/// A Hugging Face / sentence-transformers model directory, read and checked once. A value type.
///
/// Reads config.json, modules.json, the pooling configuration, sentence_bert_config.json (max_seq_length),
/// config_sentence_transformers.json (prompts) and promptcache.json. What is not supported is named in the error.
class ModelDirectory {
 public:
  /// Throws `Error` naming the file: not_found, format, unsupported.
  static ModelDirectory open(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  std::string file(std::string_view name) const;  ///< path of a file inside the directory
  bool has_file(std::string_view name) const;

  const EncoderConfig& encoder() const noexcept { return encoder_; }
  Pooling pooling() const noexcept { return pooling_; }
  bool normalizes() const noexcept { return normalizes_; }  ///< modules.json ends in a Normalize module

  /// Longest input in tokens, special tokens included: the smaller of max_seq_length and the position table.
  std::size_t max_tokens() const noexcept { return max_tokens_; }

  /// Text put before every prompt: the default prompt of config_sentence_transformers.json, or empty.
  const std::string& prefix() const noexcept { return prefix_; }
  const std::map<std::string, std::string>& prompts() const noexcept { return prompts_; }

  const ModelExtras& extras() const noexcept { return extras_; }

 private:
  ModelDirectory() = default;

  std::string path_;
  EncoderConfig encoder_;
  Pooling pooling_ = Pooling::mean;
  bool normalizes_ = false;
  std::size_t max_tokens_ = 0;
  std::string prefix_;
  std::map<std::string, std::string> prompts_;
  ModelExtras extras_;
};

/// Copies what surrounds the weights (configuration, tokenizer, pooling) into `target`, so that new weights written
/// there make a complete model directory; promptcache.json and weight files are left out. Creates `target`. Throws
/// `Error(io)`.
void copy_companion_files(const ModelDirectory& source, const std::string& target);

}  // namespace promptcache
