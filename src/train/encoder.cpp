#include "promptcache/train/encoder.hpp"

#include <cmath>

#include "base/random.hpp"
#include "train/operations.hpp"

namespace promptcache::train {
namespace {

constexpr std::size_t embedding_tensors = 5;  // word, position, type, norm weight, norm bias
constexpr std::size_t layer_tensors = 16;

}  // namespace

TokenBatch pack(std::span<const TokenSequence> sequences, const EncoderConfig& config, torch::Device device) {
  TokenBatch batch;
  batch.texts = static_cast<std::int64_t>(sequences.size());
  std::size_t longest = 0;
  for (const TokenSequence& sequence : sequences) longest = std::max(longest, sequence.ids.size());
  batch.longest = static_cast<std::int64_t>(longest);
  bool several_types = false;
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> positions;
  std::vector<std::int64_t> types;
  std::vector<std::int64_t> slots;
  std::vector<float> mask(sequences.size() * longest, -1e30F);
  for (std::size_t text = 0; text < sequences.size(); ++text) {
    const TokenSequence& sequence = sequences[text];
    const std::size_t second_text =
        config.type_vocabulary_size > 1 ? sequence.second_text.value_or(sequence.ids.size()) : sequence.ids.size();
    several_types = several_types || second_text < sequence.ids.size();
    batch.lengths.push_back(static_cast<std::int64_t>(sequence.ids.size()));
    for (std::size_t i = 0; i < sequence.ids.size(); ++i) {
      ids.push_back(sequence.ids[i]);
      types.push_back(i < second_text ? 0 : 1);
      positions.push_back(static_cast<std::int64_t>(i + config.position_offset));
      slots.push_back(static_cast<std::int64_t>(text * longest + i));
      mask[text * longest + i] = 0;
    }
  }
  batch.ids = torch::tensor(ids, torch::kInt64).to(device);
  batch.positions = torch::tensor(positions, torch::kInt64).to(device);
  if (several_types) batch.types = torch::tensor(types, torch::kInt64).to(device);
  batch.slots = torch::tensor(slots, torch::kInt64).to(device);
  batch.mask = torch::tensor(mask, torch::kFloat32).view({batch.texts, 1, 1, batch.longest}).to(device);
  return batch;
}

Encoder::Encoder(const ModelDirectory& directory, const EncoderWeights& weights, torch::Device device,
                 const std::optional<PairHead>& head)
    : config_(directory.encoder()), pooling_(directory.pooling()) {
  const auto take = [&](const std::string& name, const std::vector<std::size_t>& shape, std::vector<float>& values) {
    const std::vector<std::int64_t> sizes(shape.begin(), shape.end());
    torch::Tensor tensor = torch::from_blob(values.data(), sizes, torch::kFloat32).clone().to(device);
    tensor.set_requires_grad(true);
    parameters_.push_back(tensor);
    names_.push_back(name);
  };
  EncoderWeights copy = weights;  // the visitors want to be able to write
  for_each_encoder_tensor(config_, copy, take);
  if (!head) return;
  head_at_ = parameters_.size();
  PairHead head_copy = *head;
  for_each_head_tensor(config_, head_copy, take);
}

torch::Tensor Encoder::layer_norm(const torch::Tensor& x, std::size_t at) const {
  return torch::layer_norm(x, {static_cast<std::int64_t>(config_.hidden_size)}, parameters_[at], parameters_[at + 1],
                           static_cast<double>(config_.layer_norm_eps));
}

/// What one forward pass carries along. Each dropout has a mask of its own.
struct Encoder::Pass {
  const ForwardOptions& options;
  bool own_kernels;
  std::uint64_t state = options.seed;

  std::uint64_t next_seed() {
    const std::uint64_t seed = base::scattered(state);
    state += 0x9E3779B97F4A7C15ULL;
    return seed;
  }

  torch::Tensor dropout(const torch::Tensor& x, float rate) {
    if (!options.training || rate <= 0) return x;
    return own_kernels ? seeded_dropout(x, static_cast<double>(rate), next_seed())
                       : torch::dropout(x, static_cast<double>(rate), true);
  }
};

torch::Tensor Encoder::linear(const torch::Tensor& x, std::size_t at, const Pass& pass) const {
  if (!pass.options.bf16) return torch::linear(x, parameters_[at], parameters_[at + 1]);
  const torch::Tensor product = torch::linear(x.to(torch::kBFloat16), parameters_[at].to(torch::kBFloat16));
  return product.to(torch::kFloat32) + parameters_[at + 1];
}

torch::Tensor Encoder::attention(const torch::Tensor& x, std::size_t first, const TokenBatch& batch, Pass& pass) const {
  const auto heads = static_cast<std::int64_t>(config_.heads);
  if (pass.own_kernels) {
    const double rate = pass.options.training ? static_cast<double>(config_.attention_dropout) : 0;
    return packed_attention(linear(x, first, pass), linear(x, first + 2, pass), linear(x, first + 4, pass),
                            batch.lengths, heads, rate, pass.next_seed());
  }
  const auto width = static_cast<std::int64_t>(config_.hidden_size);
  const auto head = static_cast<std::int64_t>(config_.head_size());
  const bool padded = x.size(0) != batch.texts * batch.longest;
  const auto to_grid = [&](const torch::Tensor& packed) {
    const torch::Tensor grid =
        padded ? torch::zeros({batch.texts * batch.longest, width}, packed.options()).index_copy(0, batch.slots, packed)
               : packed;
    return grid.view({batch.texts, batch.longest, heads, head}).transpose(1, 2);
  };
  const torch::Tensor query = to_grid(linear(x, first, pass));
  const torch::Tensor key = to_grid(linear(x, first + 2, pass));
  const torch::Tensor value = to_grid(linear(x, first + 4, pass));
  torch::Tensor scores = torch::matmul(query * (1 / std::sqrt(static_cast<double>(head))), key.transpose(2, 3));
  if (padded) scores = scores + batch.mask;
  const torch::Tensor shares = pass.dropout(torch::softmax(scores, -1), config_.attention_dropout);
  const torch::Tensor context = torch::matmul(shares, value).transpose(1, 2).reshape({-1, width});
  return padded ? context.index_select(0, batch.slots) : context;
}

torch::Tensor Encoder::layer(const torch::Tensor& x, std::size_t first, const TokenBatch& batch, Pass& pass) const {
  const torch::Tensor context = attention(x, first, batch, pass);
  const torch::Tensor attended =
      layer_norm(x + pass.dropout(linear(context, first + 6, pass), config_.hidden_dropout), first + 8);
  torch::Tensor inner = linear(attended, first + 10, pass);
  switch (config_.activation) {
    case Activation::gelu: inner = torch::gelu(inner); break;
    case Activation::gelu_tanh: inner = torch::gelu(inner, "tanh"); break;
    case Activation::relu: inner = torch::relu(inner); break;
  }
  return layer_norm(attended + pass.dropout(linear(inner, first + 12, pass), config_.hidden_dropout), first + 14);
}

torch::Tensor Encoder::forward(const TokenBatch& batch, const ForwardOptions& options) const {
  Pass pass{options, device().is_cpu() && !options.reference};
  const torch::Tensor words =
      options.word_rows.defined() ? options.word_rows : torch::embedding(parameters_[0], batch.ids);
  torch::Tensor x =
      words + torch::embedding(parameters_[1], batch.positions) +
      (batch.types.defined() ? torch::embedding(parameters_[2], batch.types) : parameters_[2].select(0, 0));
  x = pass.dropout(layer_norm(x, 3), config_.hidden_dropout);
  for (std::size_t i = 0; i < config_.layers; ++i) {
    x = layer(x, embedding_tensors + i * layer_tensors, batch, pass);
  }
  const auto first_tokens = [&] {
    return x.index_select(0, torch::nonzero(torch::remainder(batch.slots, batch.longest) == 0).view(-1));
  };
  if (reads_pairs()) return logits(first_tokens(), pass);
  const torch::Tensor text_of_token = torch::floor_divide(batch.slots, batch.longest);
  torch::Tensor pooled;
  if (pooling_ == Pooling::cls) {
    pooled = first_tokens();
  } else {
    // The sum will do: the length of a vector is normalised away.
    pooled = torch::zeros({batch.texts, x.size(1)}, x.options()).index_add(0, text_of_token, x);
  }
  return torch::nn::functional::normalize(pooled, torch::nn::functional::NormalizeFuncOptions().p(2).dim(1));
}

torch::Tensor Encoder::logits(const torch::Tensor& first_tokens, Pass& pass) const {
  const torch::Tensor dense = torch::tanh(linear(first_tokens, *head_at_, pass));
  return linear(pass.dropout(dense, config_.hidden_dropout), *head_at_ + 2, pass);
}

namespace {

void copy_out(const torch::Tensor& parameter, std::vector<float>& values) {
  const torch::Tensor tensor = parameter.detach().to(torch::kCPU).contiguous();
  const float* data = tensor.data_ptr<float>();
  values.assign(data, data + tensor.numel());
}

}  // namespace

EncoderWeights Encoder::weights() const {
  EncoderWeights result;
  std::size_t at = 0;
  for_each_encoder_tensor(config_, result,
                          [&](const std::string&, const std::vector<std::size_t>&, std::vector<float>& values) {
                            copy_out(parameters_[at++], values);
                          });
  return result;
}

PairHead Encoder::head() const {
  PairHead result;
  std::size_t at = head_at_.value();
  for_each_head_tensor(config_, result,
                       [&](const std::string&, const std::vector<std::size_t>&, std::vector<float>& values) {
                         copy_out(parameters_[at++], values);
                       });
  return result;
}

}  // namespace promptcache::train
