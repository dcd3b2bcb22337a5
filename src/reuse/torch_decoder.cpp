#include "promptcache/reuse/torch_decoder.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "promptcache/base/error.hpp"
#include "reuse/decoder_kernels.hpp"

namespace promptcache::reuse {
namespace {

using at::Tensor;

/// A product with weights in the form that was asked for.
struct Linear {
  Tensor weight, bias;  // weight: f32 [out, in], unless packed
  PackedMatrix packed;

  std::int64_t out() const { return weight.defined() ? weight.size(0) : static_cast<std::int64_t>(packed.out()); }

  Tensor operator()(const Tensor& x) const {
    if (weight.defined()) return bias.defined() ? at::addmm(bias, x, weight.t()) : at::mm(x, weight.t());
    const Tensor input = x.contiguous();
    Tensor result = at::empty({x.size(0), out()}, x.options());
    const float* from = input.data_ptr<float>();
    float* to = result.data_ptr<float>();
    // Panels in fours, which one token takes at once.
    const auto panels = static_cast<std::int64_t>(packed.panels());
    at::parallel_for(0, (panels + 3) / 4, 4, [&](std::int64_t begin, std::int64_t end) {
      multiply(packed, from, static_cast<std::size_t>(x.size(0)), static_cast<std::size_t>(begin) * 4,
               static_cast<std::size_t>(std::min(end * 4, panels)), to, packed.out());
    });
    if (bias.defined()) result.add_(bias);
    return result;
  }
};

struct Norm {
  Tensor weight, bias;
};

struct Layer {
  Norm attention_norm, inner_norm;
  Linear query_key_value, attention_output, up, down;  // up: with a gate in front of it where there is one
};

class TorchDecoder final : public Decoder {
 public:
  TorchDecoder(const DecoderFile& file, const TorchDecoderOptions& options)
      : config_(file.config()), options_(options), device_(parse(options.device)) {
    options_.reference = options.reference || !device_.is_cpu();
    const c10::InferenceMode inference;
    load(file);
    rotation_ = RotationTable(config_.rope, config_.rope.empty() ? 0 : config_.context);
    // What rounds differently is another identity.
    identity_ = Sha256()
                    .field("decoder", "torch 1")
                    .field("model", file.identity().view())
                    .field("weights", options.weights == WeightType::f32 ? "f32" : "bf16")
                    .field("kv", options.kv == KvType::f32 ? "f32" : "bf16")
                    .finish();
  }

  const DecoderConfig& config() const override { return config_; }
  KvShape kv_shape() const override { return {config_.layers, config_.kv_heads, config_.head_size, options_.kv}; }
  Digest identity() const override { return identity_; }
  std::vector<float> run(const Step& step, std::span<const std::size_t> wanted) const override;

 private:
  struct Plan;  // one step in the form that the layers want

  static at::Device parse(const std::string& name) {
    try {
      at::Device device(name);
      at::empty({1}, device);
      return device;
    } catch (const c10::Error& e) {
      throw Error(ErrorCode::unsupported, {"device"}, "'" + name + "': " + e.what_without_backtrace(),
                  "a device that LibTorch finds here");
    }
  }

  void load(const DecoderFile& file);
  Tensor norm(const Norm& norm, const Tensor& x) const;
  Tensor embed(const Step& step) const;
  void store_states(const Step& step, std::size_t layer, const Tensor& query_key_value) const;
  Tensor attention(const Plan& plan, std::size_t layer, const Tensor& query_key_value) const;
  Tensor masked_attention(const Plan& plan, std::size_t layer, const Tensor& queries) const;
  Tensor feed_forward(const Layer& layer, const Tensor& x) const;

  DecoderConfig config_;
  TorchDecoderOptions options_;
  at::Device device_;
  Tensor positions_;
  Linear words_, output_;
  Norm final_norm_;
  std::vector<Layer> layers_;
  RotationTable rotation_;
  Digest identity_;
};

Tensor tensor_of(const std::vector<float>& values, std::vector<std::int64_t> sizes, at::Device device) {
  return at::from_blob(const_cast<float*>(values.data()), sizes, at::kFloat).clone().to(device);
}

void TorchDecoder::load(const DecoderFile& file) {
  const auto take = [&](DecoderPart part, std::size_t layer) -> Tensor {
    if (!file.has(part, layer)) return {};
    const std::vector<std::size_t> shape = file.shape(part);
    return tensor_of(file.read(part, layer), {shape.begin(), shape.end()}, device_);
  };
  const auto take_norm = [&](DecoderPart weight, DecoderPart bias, std::size_t layer) {
    // Read through has() only for the bias: a weight that is missing is an error.
    const std::vector<float> values = file.read(weight, layer);
    return Norm{tensor_of(values, {static_cast<std::int64_t>(values.size())}, device_), take(bias, layer)};
  };
  // Matrices that take the same input are one.
  const auto take_linear = [&](const std::vector<std::pair<DecoderPart, std::optional<DecoderPart>>>& parts,
                               std::size_t layer) {
    std::vector<float> values;
    std::vector<Tensor> biases;
    std::size_t out = 0, in = 0;
    for (const auto& [weight, bias] : parts) {
      const std::vector<float> part = file.read(weight, layer);
      values.insert(values.end(), part.begin(), part.end());
      out += file.shape(weight)[0];
      in = file.shape(weight)[1];
      if (bias && file.has(*bias, layer)) biases.push_back(take(*bias, layer));
    }
    Linear linear;
    if (!biases.empty()) linear.bias = at::cat(biases);
    if (linear.bias.defined() && linear.bias.size(0) != static_cast<std::int64_t>(out)) {
      throw Error(ErrorCode::unsupported, {file.path()}, "biases for some of queries, keys and values only",
                  "all or none");
    }
    if (!options_.reference) {
      linear.packed = PackedMatrix(values, out, in, options_.weights);
      return linear;
    }
    linear.weight = tensor_of(values, {static_cast<std::int64_t>(out), static_cast<std::int64_t>(in)}, device_);
    if (options_.weights == WeightType::bf16) linear.weight = linear.weight.to(at::kBFloat16).to(at::kFloat);
    return linear;
  };
  using P = DecoderPart;
  const DecoderPart output = config_.tied ? P::words : P::output;
  output_ = take_linear({{output, std::nullopt}}, 0);
  words_ = config_.tied ? output_ : take_linear({{P::words, std::nullopt}}, 0);  // tied weights are there once
  if (config_.family == DecoderFamily::gpt2) {
    const std::vector<std::size_t> shape = file.shape(P::positions);
    positions_ = tensor_of(file.read(P::positions), {shape.begin(), shape.end()}, device_);
  }
  final_norm_ = take_norm(P::final_norm, P::final_norm_bias, 0);
  for (std::size_t i = 0; i < config_.layers; ++i) {
    Layer layer;
    layer.attention_norm = take_norm(P::attention_norm, P::attention_norm_bias, i);
    layer.inner_norm = take_norm(P::inner_norm, P::inner_norm_bias, i);
    layer.query_key_value =
        take_linear({{P::query, P::query_bias}, {P::key, P::key_bias}, {P::value, P::value_bias}}, i);
    layer.attention_output = take_linear({{P::attention_output, P::attention_output_bias}}, i);
    if (config_.family == DecoderFamily::llama) {
      layer.up = take_linear({{P::gate, P::gate_bias}, {P::up, P::up_bias}}, i);
    } else {
      layer.up = take_linear({{P::up, P::up_bias}}, i);
    }
    layer.down = take_linear({{P::down, P::down_bias}}, i);
    layers_.push_back(std::move(layer));
  }
}

/// Some tokens of a step, and what they see, as the layers want them.
struct TorchDecoder::Plan {
  std::vector<AttentionRun> runs;
  std::vector<std::size_t> positions;
  std::vector<std::uint32_t> visible;           // [tokens, runs]
  Tensor mask, key_positions, query_positions;  // of the reference: all rows of all runs as one list of keys

  Plan(const Step& step, std::span<const std::size_t> tokens, bool reference, at::Device device) {
    for (const KvRun& run : step.runs) runs.push_back({run.block, run.position});
    for (const std::size_t token : tokens) {
      positions.push_back(step.position(token));
      for (std::size_t run = 0; run < step.runs.size(); ++run) visible.push_back(step.sees(token, run));
    }
    if (!reference) return;
    std::vector<std::int64_t> keys;
    for (const KvRun& run : step.runs) {
      for (std::size_t row = 0; row < run.block->size(); ++row)
        keys.push_back(static_cast<std::int64_t>(run.position + row));
    }
    const auto count = static_cast<std::int64_t>(tokens.size());
    const auto width = static_cast<std::int64_t>(keys.size());
    mask = at::full({count, width}, -std::numeric_limits<float>::infinity());
    auto at = mask.accessor<float, 2>();
    for (std::int64_t token = 0; token < count; ++token) {
      std::int64_t first = 0;
      for (std::size_t run = 0; run < step.runs.size(); ++run) {
        const auto seen = static_cast<std::int64_t>(step.sees(tokens[static_cast<std::size_t>(token)], run));
        for (std::int64_t row = 0; row < seen; ++row) at[token][first + row] = 0;
        first += static_cast<std::int64_t>(step.runs[run].block->size());
      }
    }
    mask = mask.to(device);
    key_positions = at::tensor(keys, at::kLong);
    query_positions = at::tensor(std::vector<std::int64_t>(positions.begin(), positions.end()), at::kLong);
  }
};

Tensor TorchDecoder::norm(const Norm& norm, const Tensor& x) const {
  const std::int64_t width = x.size(1);
  if (config_.family != DecoderFamily::llama) {
    return at::layer_norm(x, {width}, norm.weight, norm.bias, static_cast<double>(config_.norm_eps));
  }
  if (options_.reference) {
    return x * at::rsqrt(x.pow(2).mean(-1, true) + static_cast<double>(config_.norm_eps)) * norm.weight;
  }
  Tensor result = at::empty_like(x);
  for (std::int64_t row = 0; row < x.size(0); ++row) {
    rms_norm(x.data_ptr<float>() + row * width, norm.weight.data_ptr<float>(), static_cast<std::size_t>(width),
             config_.norm_eps, result.data_ptr<float>() + row * width);
  }
  return result;
}

Tensor TorchDecoder::embed(const Step& step) const {
  std::vector<std::int64_t> ids, places;
  for (std::size_t i = 0; i < step.tokens.size(); ++i) {
    ids.push_back(step.tokens[i].token);
    places.push_back(static_cast<std::int64_t>(step.position(i)));
  }
  Tensor x;
  if (options_.reference) {
    x = at::embedding(words_.weight, at::tensor(ids, at::kLong).to(device_));
  } else {
    x = at::empty({static_cast<std::int64_t>(ids.size()), static_cast<std::int64_t>(config_.width)});
    for (std::size_t i = 0; i < ids.size(); ++i) {
      words_.packed.row(static_cast<std::size_t>(ids[i]), x.data_ptr<float>() + i * config_.width);
    }
  }
  if (positions_.defined()) x = x + at::embedding(positions_, at::tensor(places, at::kLong).to(device_));
  return x;
}

/// Plain operations over one list of keys, and a mask: what the kernels are to compute.
Tensor TorchDecoder::masked_attention(const Plan& plan, std::size_t layer, const Tensor& queries) const {
  const auto heads = static_cast<std::int64_t>(config_.heads);
  const auto kv_heads = static_cast<std::int64_t>(config_.kv_heads);
  const auto size = static_cast<std::int64_t>(config_.head_size);
  const std::int64_t count = plan.key_positions.size(0);
  Tensor keys = at::empty({count, kv_heads, size}), values = at::empty({count, kv_heads, size});
  std::size_t row_of_all = 0;
  for (const AttentionRun& run : plan.runs) {
    for (std::size_t row = 0; row < run.block->size(); ++row, ++row_of_all) {
      const std::size_t at = row_of_all * config_.kv_width();
      run.block->read_row(layer, row, keys.data_ptr<float>() + at, values.data_ptr<float>() + at);
    }
  }
  keys = keys.transpose(0, 1);
  values = values.transpose(0, 1);
  const auto turn = [&](const Tensor& x, const Tensor& angles) {  // x [heads, n, size], angles [n, size / 2]
    const Tensor cosines = angles.cos().to(at::kFloat), sines = angles.sin().to(at::kFloat);
    const Tensor a = x.slice(2, 0, size / 2), b = x.slice(2, size / 2);
    return at::cat({a * cosines - b * sines, b * cosines + a * sines}, 2);
  };
  Tensor q = queries.to(at::kCPU).view({-1, heads, size}).transpose(0, 1);
  if (!config_.rope.empty()) {
    const Tensor frequencies = at::tensor(config_.rope, at::kDouble);
    // Keys are turned by their row already: what is left is the position of their run.
    std::vector<std::int64_t> starts;
    for (const AttentionRun& run : plan.runs) {
      starts.insert(starts.end(), run.block->size(), static_cast<std::int64_t>(run.position));
    }
    keys = turn(keys, at::tensor(starts, at::kLong).to(at::kDouble).unsqueeze(1) * frequencies);
    q = turn(q, plan.query_positions.to(at::kDouble).unsqueeze(1) * frequencies);
  }
  q = q.to(device_);
  keys = keys.to(device_).repeat_interleave(heads / kv_heads, 0);
  values = values.to(device_).repeat_interleave(heads / kv_heads, 0);
  Tensor scores = at::matmul(q, keys.transpose(1, 2)) / std::sqrt(static_cast<double>(size));
  if (!config_.alibi.empty()) {
    const Tensor distance = (plan.query_positions.unsqueeze(1) - plan.key_positions.unsqueeze(0)).to(at::kFloat);
    scores = scores - (at::tensor(config_.alibi).view({-1, 1, 1}) * distance.unsqueeze(0)).to(device_);
  }
  const Tensor weights = at::softmax(scores + plan.mask, -1);
  return at::matmul(weights, values).transpose(0, 1).reshape({-1, heads * size});
}

/// Writes keys and values of all tokens of a step.
void TorchDecoder::store_states(const Step& step, std::size_t layer, const Tensor& query_key_value) const {
  const Tensor host = query_key_value.to(at::kCPU).contiguous();
  const auto width = static_cast<std::size_t>(host.size(1));
  const RotationTable* rotation = config_.rope.empty() ? nullptr : &rotation_;
  at::parallel_for(0, host.size(0), 64, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const NewToken& token = step.tokens[i];
      const float* keys = host.data_ptr<float>() + i * width + config_.query_width();
      store_row(rotation, keys, keys + config_.kv_width(), *step.runs[token.run].open, layer, token.row);
    }
  });
}

Tensor TorchDecoder::attention(const Plan& plan, std::size_t layer, const Tensor& query_key_value) const {
  if (options_.reference) {
    return masked_attention(plan, layer, query_key_value.slice(1, 0, static_cast<std::int64_t>(config_.query_width())));
  }
  const auto tokens = static_cast<std::int64_t>(plan.positions.size());
  Tensor result = at::empty({tokens, static_cast<std::int64_t>(config_.query_width())});
  const AttentionCall call{config_.heads,
                           config_.kv_heads,
                           config_.head_size,
                           layer,
                           config_.rope.empty() ? nullptr : &rotation_,
                           config_.alibi,
                           plan.runs,
                           plan.positions,
                           plan.visible,
                           query_key_value.data_ptr<float>(),
                           static_cast<std::size_t>(query_key_value.size(1)),
                           result.data_ptr<float>()};
  // Each head in pieces of some tokens: later ones see more, so pieces are dealt out in turn.
  const std::int64_t piece = 48;
  const std::int64_t pieces = (tokens + piece - 1) / piece;
  const auto kv_heads = static_cast<std::int64_t>(config_.kv_heads);
  const std::int64_t jobs = pieces * kv_heads;
  const std::int64_t threads = std::min<std::int64_t>(at::get_num_threads(), jobs);
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t thread = begin; thread < end; ++thread) {
      for (std::int64_t job = thread; job < jobs; job += threads) {
        const std::int64_t first = job / kv_heads * piece;
        attend(call, static_cast<std::size_t>(job % kv_heads), static_cast<std::size_t>(first),
               static_cast<std::size_t>(std::min(first + piece, tokens)));
      }
    }
  });
  return result;
}

Tensor TorchDecoder::feed_forward(const Layer& layer, const Tensor& x) const {
  Tensor inner = layer.up(x);
  switch (config_.family) {
    case DecoderFamily::gpt2: return layer.down(at::gelu(inner, "tanh"));
    case DecoderFamily::mpt: return layer.down(at::gelu(inner));
    case DecoderFamily::llama: break;
  }
  const auto width = static_cast<std::int64_t>(config_.inner);
  if (options_.reference) return layer.down(at::silu(inner.slice(1, 0, width)) * inner.slice(1, width));
  Tensor gated = at::empty({inner.size(0), width});
  at::parallel_for(0, inner.size(0), 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      float* gate = inner.data_ptr<float>() + row * 2 * width;
      gated_silu(gate, gate + width, config_.inner);
      std::copy_n(gate, width, gated.data_ptr<float>() + row * width);
    }
  });
  return layer.down(gated);
}

std::vector<float> TorchDecoder::run(const Step& step, std::span<const std::size_t> wanted) const {
  check(step, wanted);
  if (step.tokens.empty()) return {};
  const c10::InferenceMode inference;
  std::vector<std::size_t> all(step.tokens.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::optional<Plan> plan(std::in_place, step, all, options_.reference, device_);
  Tensor x = embed(step);
  const std::size_t layers = step.layers > 0 ? step.layers : layers_.size();
  for (std::size_t i = 0; i < layers; ++i) {
    const Layer& layer = layers_[i];
    Tensor query_key_value = layer.query_key_value(norm(layer.attention_norm, x));
    store_states(step, i, query_key_value);
    if (i + 1 == layers) {  // behind its keys and values, the last layer matters for the wanted tokens only
      if (wanted.empty()) return {};
      if (!std::ranges::equal(wanted, all)) {
        const Tensor rows = at::tensor(std::vector<std::int64_t>(wanted.begin(), wanted.end()), at::kLong).to(device_);
        query_key_value = query_key_value.index_select(0, rows);
        x = x.index_select(0, rows);
        plan.emplace(step, wanted, options_.reference, device_);
      }
    }
    x.add_(layer.attention_output(attention(*plan, i, query_key_value)));
    x.add_(feed_forward(layer, norm(layer.inner_norm, x)));
  }
  const Tensor logits = output_(norm(final_norm_, x)).to(at::kCPU).contiguous();
  std::vector<float> result(logits.data_ptr<float>(), logits.data_ptr<float>() + logits.numel());
  if (!std::ranges::all_of(result, [](float value) { return std::isfinite(value); })) {
    throw Error(ErrorCode::numeric, {"Decoder"}, "logits that are no finite numbers", "finite ones");
  }
  return result;
}

}  // namespace

std::shared_ptr<const Decoder> make_torch_decoder(const DecoderFile& file, const TorchDecoderOptions& options) {
  return std::make_shared<const TorchDecoder>(file, options);
}

}  // namespace promptcache::reuse
