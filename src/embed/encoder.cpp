#include "embed/encoder.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "embed/kernels.hpp"
#include "embed/openmp_threads.hpp"
#include "promptcache/model/encoder_weights.hpp"

namespace promptcache::embed {
namespace {

// Near-equal parts of at most max_rows rows: a short remainder would read all the weights again for little.
template <class Body>
void for_each_chunk(std::size_t rows, Body body) {
  const std::size_t parts = (rows + MatrixProduct::max_rows - 1) / MatrixProduct::max_rows;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t begin = rows * part / parts;
    body(begin, rows * (part + 1) / parts - begin);
  }
}

std::vector<float> concatenated(std::initializer_list<const std::vector<float>*> parts) {
  std::vector<float> result;
  for (const std::vector<float>* part : parts) result.insert(result.end(), part->begin(), part->end());
  return result;
}

void scale(std::vector<float>& values, float factor) {
  for (float& value : values) value *= factor;
}

}  // namespace

Workspace::Workspace() : stream_(cpu_engine()) {}

struct Encoder::Linear {
  PackedWeights packed;
  std::vector<std::int32_t> weight_sum;  // of int8, as are the scales and the bias
  std::vector<float> scale, bias;

  Columns columns() const { return {weight_sum.data(), scale.data(), bias.data()}; }

  static Linear make(const MatrixProduct& product, Arithmetic arithmetic, const std::vector<float>& weights,
                     std::vector<float> bias, dnnl::stream& stream) {
    if (arithmetic == Arithmetic::f32) return {product.pack(weights, bias, stream), {}, {}, {}};
    const std::size_t outputs = bias.size();
    const std::size_t inputs = weights.size() / outputs;
    // A sum of two rounded weights is up to 1 above that of the weights.
    const float most_pair = static_cast<float>(largest_int8_pair()) - 0.6F;
    Linear linear{{}, std::vector<std::int32_t>(outputs), std::vector<float>(outputs), std::move(bias)};
    std::vector<std::int8_t> codes(weights.size());
    for (std::size_t output = 0; output < outputs; ++output) {
      const float* row = &weights[output * inputs];
      float largest = 0;
      float largest_pair = 0;
      for (std::size_t i = 0; i < inputs; ++i) {
        largest = std::max(largest, std::abs(row[i]));
        if (i % 2 == 1) largest_pair = std::max(largest_pair, std::abs(row[i - 1] + row[i]));
      }
      const float scale = std::max(largest / 127, largest_pair / most_pair);
      const float factor = scale > 1e-30F ? 1 / scale : 0;
      std::int32_t sum = 0;
      for (std::size_t i = 0; i < inputs; ++i) {
        const auto code = static_cast<std::int8_t>(std::lrintf(row[i] * factor));
        codes[output * inputs + i] = code;
        sum += code;
      }
      linear.weight_sum[output] = sum;
      linear.scale[output] = scale;
    }
    linear.packed = product.pack(codes, stream);
    return linear;
  }
};

struct Encoder::Layer {
  Linear projection, attention_output, up, down;
  std::vector<float> attention_scale, attention_shift, output_scale, output_shift;
  LayerNorm attention_norm;  // points into the vectors above, whose storage a move keeps
  LayerNorm output_norm;
};

Encoder::Encoder(const EncoderConfig& config, EncoderWeights weights, Arithmetic arithmetic, int threads)
    : config_(config),
      arithmetic_(arithmetic),
      threads_(threads),
      words_(std::move(weights.word_embeddings)),
      positions_(std::move(weights.position_embeddings)),
      norm_scale_(std::move(weights.embedding_norm_weight)),
      norm_shift_(std::move(weights.embedding_norm_bias)),
      projection_(config.hidden_size, 3 * config.hidden_size, arithmetic),
      attention_output_(config.hidden_size, config.hidden_size, arithmetic),
      up_(config.hidden_size, config.intermediate_size, arithmetic,
          arithmetic == Arithmetic::f32 ? &config_.activation : nullptr),
      down_(config.intermediate_size, config.hidden_size, arithmetic) {
  const std::size_t width = config_.hidden_size;
  for (std::size_t i = 0; i < positions_.size(); ++i) positions_[i] += weights.token_type_embeddings[i % width];
  const OpenMpThreads inside(threads_);
  dnnl::stream stream(cpu_engine());
  // Folding the attention's 1/sqrt(head size) into the query projection makes it free.
  const float query_scale = 1.0F / std::sqrt(static_cast<float>(config_.head_size()));
  layers_.reserve(weights.layers.size());
  for (EncoderLayerWeights& from : weights.layers) {
    scale(from.query_weight, query_scale);
    scale(from.query_bias, query_scale);
    Layer to;
    const auto linear = [&](const MatrixProduct& product, const std::vector<float>& matrix, std::vector<float> bias) {
      return Linear::make(product, arithmetic, matrix, std::move(bias), stream);
    };
    to.projection = linear(projection_, concatenated({&from.query_weight, &from.key_weight, &from.value_weight}),
                           concatenated({&from.query_bias, &from.key_bias, &from.value_bias}));
    to.attention_output = linear(attention_output_, from.attention_output_weight, from.attention_output_bias);
    to.up = linear(up_, from.intermediate_weight, from.intermediate_bias);
    to.down = linear(down_, from.output_weight, from.output_bias);
    to.attention_scale = std::move(from.attention_norm_weight);
    to.attention_shift = std::move(from.attention_norm_bias);
    to.output_scale = std::move(from.output_norm_weight);
    to.output_shift = std::move(from.output_norm_bias);
    to.attention_norm = {to.attention_scale.data(), to.attention_shift.data(), config_.layer_norm_eps};
    to.output_norm = {to.output_scale.data(), to.output_shift.data(), config_.layer_norm_eps};
    layers_.push_back(std::move(to));
    from = {};  // a large model twice in memory is a lot
  }
}

Encoder::~Encoder() = default;

void Encoder::embed_tokens(std::span<const Sequence> sequences, Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  float* row = workspace.hidden_.data();
  std::size_t tokens = 0;
  for (const Sequence sequence : sequences) {
    assert(!sequence.empty() && sequence.size() <= config_.max_positions());
    std::size_t position = config_.position_offset;
    for (const std::int32_t id : sequence) {
      std::size_t position_row = position;
      if (config_.architecture == Architecture::xlm_roberta && id == config_.padding_id) {
        // A text may spell out the padding token; XLM-RoBERTa then gives it the padding's position and does not count.
        position_row = static_cast<std::size_t>(config_.padding_id);
      } else {
        ++position;
      }
      add_rows(&words_[static_cast<std::size_t>(id) * width], &positions_[position_row * width], row, width);
      row += width;
    }
    tokens += sequence.size();
  }
  add_layer_norm(workspace.hidden_.data(), nullptr, tokens, width,
                 {norm_scale_.data(), norm_shift_.data(), config_.layer_norm_eps});
}

void Encoder::attend_all(std::span<const Sequence> sequences, Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  const std::size_t head_size = config_.head_size();
  std::size_t longest = 0;
  for (const Sequence sequence : sequences) longest = std::max(longest, sequence.size());
  const std::size_t scratch_size = attention_scratch(longest, head_size);
  float* scratch = workspace.attention_.reserve(scratch_size * static_cast<std::size_t>(threads_));
  std::size_t begin = 0;
  for (const Sequence sequence : sequences) {
    const auto attend_head = [&](std::size_t head, std::size_t thread) {
      attend(workspace.projections_.data() + begin * 3 * width + head * head_size, sequence.size(), head_size,
             3 * width, width, workspace.context_.data() + begin * width + head * head_size, width,
             scratch + thread * scratch_size);
    };
    if (threads_ == 1) {
      for (std::size_t head = 0; head < config_.heads; ++head) attend_head(head, 0);
    } else {
#pragma omp parallel for schedule(static) num_threads(threads_)
      for (std::size_t head = 0; head < config_.heads; ++head) {
        attend_head(head, static_cast<std::size_t>(omp_get_thread_num()));
      }
    }
    begin += sequence.size();
  }
}

void Encoder::run_layer(const Layer& layer, std::span<const Sequence> sequences, std::size_t tokens,
                        Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  float* hidden = workspace.hidden_.data();
  float* projections = workspace.projections_.data();
  const float* context = workspace.context_.data();
  float* update = workspace.update_.data();
  float* inner = workspace.inner_.data();
  for_each_chunk(tokens, [&](std::size_t begin, std::size_t rows) {
    projection_.run(hidden + begin * width, rows, layer.projection.packed, projections + begin * 3 * width,
                    workspace.stream_, workspace.scratch_);
  });
  attend_all(sequences, workspace);
  for_each_chunk(tokens, [&](std::size_t begin, std::size_t rows) {
    float* chunk = hidden + begin * width;
    attention_output_.run(context + begin * width, rows, layer.attention_output.packed, update, workspace.stream_,
                          workspace.scratch_);
    add_layer_norm(chunk, update, rows, width, layer.attention_norm);
    up_.run(chunk, rows, layer.up.packed, inner, workspace.stream_, workspace.scratch_);
    down_.run(inner, rows, layer.down.packed, update, workspace.stream_, workspace.scratch_);
    add_layer_norm(chunk, update, rows, width, layer.output_norm);
  });
}

void Encoder::run_layer_int8(const Layer& layer, std::span<const Sequence> sequences, std::size_t tokens,
                             Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  const std::size_t inner_width = config_.intermediate_size;
  std::int32_t* sums = workspace.sums_.data();
  const auto multiply = [&](const MatrixProduct& product, const Linear& linear, const std::uint8_t* codes,
                            const RowCode* row_codes, std::size_t rows, std::size_t out) {
    product.run(codes, rows, linear.packed, sums, workspace.stream_, workspace.scratch_);
    return Sums{sums, row_codes, rows, out};
  };
  for_each_chunk(tokens, [&](std::size_t begin, std::size_t rows) {
    const Sums found = multiply(projection_, layer.projection, workspace.hidden_codes_.codes.data() + begin * width,
                                workspace.hidden_codes_.rows.data() + begin, rows, 3 * width);
    dequantize(found, layer.projection.columns(), workspace.projections_.data() + begin * 3 * width);
  });
  attend_all(sequences, workspace);
  for_each_chunk(tokens, [&](std::size_t begin, std::size_t rows) {
    float* hidden = workspace.hidden_.data() + begin * width;
    std::uint8_t* hidden_codes = workspace.hidden_codes_.codes.data() + begin * width;
    RowCode* hidden_rows = workspace.hidden_codes_.rows.data() + begin;
    std::uint8_t* context_codes = workspace.context_codes_.codes.data();
    RowCode* context_rows = workspace.context_codes_.rows.data();
    std::uint8_t* inner_codes = workspace.inner_codes_.codes.data();
    RowCode* inner_rows = workspace.inner_codes_.rows.data();
    quantize_rows(workspace.context_.data() + begin * width, rows, width, context_codes, context_rows);
    Sums found = multiply(attention_output_, layer.attention_output, context_codes, context_rows, rows, width);
    add_layer_norm_quantize(found, layer.attention_output.columns(), layer.attention_norm, hidden, hidden_codes,
                            hidden_rows);
    found = multiply(up_, layer.up, hidden_codes, hidden_rows, rows, inner_width);
    activate_quantize(found, layer.up.columns(), config_.activation, workspace.inner_.data(), inner_codes, inner_rows);
    found = multiply(down_, layer.down, inner_codes, inner_rows, rows, width);
    add_layer_norm_quantize(found, layer.down.columns(), layer.output_norm, hidden, hidden_codes, hidden_rows);
  });
}

void Encoder::run(std::span<const Sequence> sequences, Workspace& workspace) const {
  std::size_t tokens = 0;
  for (const Sequence sequence : sequences) tokens += sequence.size();
  if (tokens == 0) return;
  const std::size_t width = config_.hidden_size;
  const std::size_t chunk = std::min(tokens, MatrixProduct::max_rows);
  workspace.hidden_.reserve(tokens * width);
  workspace.projections_.reserve(tokens * 3 * width);
  workspace.context_.reserve(tokens * width);
  const bool int8 = arithmetic_ == Arithmetic::int8;
  workspace.inner_.reserve((int8 ? 1 : chunk) * config_.intermediate_size);
  if (int8) {
    workspace.hidden_codes_.reserve(tokens, width);
    workspace.context_codes_.reserve(chunk, width);
    workspace.inner_codes_.reserve(chunk, config_.intermediate_size);
    workspace.sums_.reserve(chunk * std::max(3 * width, config_.intermediate_size));
  } else {
    workspace.update_.reserve(chunk * width);
  }
  const OpenMpThreads inside(threads_);  // oneDNN takes its number of threads from OpenMP, when making kernels too
  embed_tokens(sequences, workspace);
  if (!int8) {
    for (const Layer& layer : layers_) run_layer(layer, sequences, tokens, workspace);
    return;
  }
  quantize_rows(workspace.hidden_.data(), tokens, width, workspace.hidden_codes_.codes.data(),
                workspace.hidden_codes_.rows.data());
  for (const Layer& layer : layers_) run_layer_int8(layer, sequences, tokens, workspace);
}

}  // namespace promptcache::embed
