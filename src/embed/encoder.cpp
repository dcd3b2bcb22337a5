#include "embed/encoder.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <exception>
#include <type_traits>
#include <utility>

#include "embed/kernels.hpp"
#include "embed/openmp_threads.hpp"
#include "embed/weight_codes.hpp"
#include "promptcache/base/error.hpp"
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

void round_to_bf16(const float* values, std::size_t count, std::uint16_t* rounded) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    rounded[i] = static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);  // to the nearest, or even
  }
}

/// While an encoder is made, its packed weights are its own to write.
template <class T>
T* writable(const T* place) {
  return const_cast<T*>(place);
}
void write(const std::vector<float>& values, const float* place) {
  std::copy(values.begin(), values.end(), writable(place));
}

}  // namespace

Workspace::Lane::Lane() : stream(cpu_engine()) {}

struct Encoder::Linear {
  PackedWeights packed;
  const std::int32_t* weight_sum = nullptr;  // of int8, as are the scales
  const float* scale = nullptr;

  Columns columns() const { return {weight_sum, scale, packed.bias}; }
};

struct Encoder::Layer {
  Linear projection, attention_output, up, down;
  LayerNorm attention_norm, output_norm;
};

Encoder::Encoder(const EncoderConfig& config, Arithmetic arithmetic, int threads)
    : config_(config),
      arithmetic_(arithmetic),
      threads_(threads),
      projection_(config.hidden_size, 3 * config.hidden_size, arithmetic),
      attention_output_(config.hidden_size, config.hidden_size, arithmetic),
      up_(config.hidden_size, config.intermediate_size, arithmetic,
          arithmetic == Arithmetic::int8 ? nullptr : &config_.activation),
      down_(config.intermediate_size, config.hidden_size, arithmetic),
      layers_(config.layers) {
  norm_.epsilon = config.layer_norm_eps;
  for (Layer& layer : layers_) layer.attention_norm.epsilon = layer.output_norm.epsilon = config.layer_norm_eps;
}

Encoder::Encoder(const EncoderConfig& config, EncoderWeights weights, Arithmetic arithmetic, int threads)
    : Encoder(config, arithmetic, threads) {
  const std::size_t size = lay_out(nullptr);
  std::shared_ptr<std::byte[]> memory = hwy::AllocateAligned<std::byte>(size);
  if (memory == nullptr) throw std::bad_alloc();
  std::fill_n(memory.get(), size, std::byte{0});  // the gaps too: same weights, same bytes
  packed_ = {memory, {memory.get(), size}};
  lay_out(memory.get());
  fill(std::move(weights));
}

Encoder::Encoder(const EncoderConfig& config, Shared<float> words, Shared<std::byte> packed, Arithmetic arithmetic,
                 int threads)
    : Encoder(config, arithmetic, threads) {
  const std::size_t size = lay_out(nullptr);
  if (packed.values.size() != size) {
    throw Error(ErrorCode::format, {"packed weights"}, std::to_string(packed.values.size()) + " bytes",
                std::to_string(size));
  }
  words_ = std::move(words);
  packed_ = std::move(packed);
  lay_out(packed_.values.data());
}

Encoder::~Encoder() = default;

/// Points everything into the packed weights that begin `at`, or at nothing. Returns their size.
std::size_t Encoder::lay_out(const std::byte* at) {
  std::size_t size = 0;
  const auto place = [&](auto*& pointer, std::size_t bytes) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(at == nullptr ? nullptr : at + size);
    size += (bytes + MatrixProduct::packed_alignment - 1) / MatrixProduct::packed_alignment *
            MatrixProduct::packed_alignment;
  };
  const std::size_t width = config_.hidden_size;
  const auto place_norm = [&](LayerNorm& norm) {
    place(norm.scale, width * sizeof(float));
    place(norm.shift, width * sizeof(float));
  };
  const auto place_linear = [&](const MatrixProduct& product, Linear& linear, std::size_t outputs) {
    place(linear.packed.weights, product.packed_size());
    place(linear.packed.bias, outputs * sizeof(float));
    if (arithmetic_ != Arithmetic::int8) return;
    place(linear.weight_sum, outputs * sizeof(std::int32_t));
    place(linear.scale, outputs * sizeof(float));
  };
  place(positions_, config_.position_rows * width * sizeof(float));
  place(second_type_, width * sizeof(float));
  place_norm(norm_);
  for (Layer& layer : layers_) {
    place_linear(projection_, layer.projection, 3 * width);
    place_linear(attention_output_, layer.attention_output, width);
    place_linear(up_, layer.up, config_.intermediate_size);
    place_linear(down_, layer.down, width);
    place_norm(layer.attention_norm);
    place_norm(layer.output_norm);
  }
  return size;
}

void Encoder::fill(const MatrixProduct& product, const Linear& linear, std::span<const float> weights,
                   std::span<const float> bias) {
  std::copy(bias.begin(), bias.end(), writable(linear.packed.bias));
  void* packed = const_cast<void*>(linear.packed.weights);
  if (arithmetic_ != Arithmetic::int8) return product.pack(weights, packed);
  std::vector<std::int8_t> codes(weights.size());
  code_weights(weights, largest_int8_group(), codes,
               {{writable(linear.scale), bias.size()}, {writable(linear.weight_sum), bias.size()}});
  product.pack(codes, packed);
}

void Encoder::fill(EncoderWeights weights) {
  auto words = std::make_shared<const std::vector<float>>(std::move(weights.word_embeddings));
  words_ = {words, *words};
  const std::size_t width = config_.hidden_size;
  std::vector<float>& positions = weights.position_embeddings;
  const std::vector<float>& types = weights.token_type_embeddings;
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] += types[i % width];
  write(positions, positions_);
  if (config_.type_vocabulary_size > 1) {
    for (std::size_t i = 0; i < width; ++i) writable(second_type_)[i] = types[width + i] - types[i];
  }
  write(weights.embedding_norm_weight, norm_.scale);
  write(weights.embedding_norm_bias, norm_.shift);
  const OpenMpThreads inside(threads_);
  // Folding the attention's 1/sqrt(head size) into the query projection makes it free.
  const float query_scale = 1.0F / std::sqrt(static_cast<float>(config_.head_size()));
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    EncoderLayerWeights& from = weights.layers[i];
    const Layer& to = layers_[i];
    scale(from.query_weight, query_scale);
    scale(from.query_bias, query_scale);
    fill(projection_, to.projection, concatenated({&from.query_weight, &from.key_weight, &from.value_weight}),
         concatenated({&from.query_bias, &from.key_bias, &from.value_bias}));
    fill(attention_output_, to.attention_output, from.attention_output_weight, from.attention_output_bias);
    fill(up_, to.up, from.intermediate_weight, from.intermediate_bias);
    fill(down_, to.down, from.output_weight, from.output_bias);
    write(from.attention_norm_weight, to.attention_norm.scale);
    write(from.attention_norm_bias, to.attention_norm.shift);
    write(from.output_norm_weight, to.output_norm.scale);
    write(from.output_norm_bias, to.output_norm.shift);
    from = {};  // a large model twice in memory is a lot
  }
}

/// body(begin, rows, lane) for near-equal parts of the rows, none longer than `max_rows`, on the threads inside.
template <class Body>
void Encoder::for_each_part(std::size_t rows, Workspace& workspace, Body body) const {
  const auto threads = static_cast<std::size_t>(threads_);
  const std::size_t least = (rows + MatrixProduct::max_rows - 1) / MatrixProduct::max_rows;
  const std::size_t parts = std::min(rows, (least + threads - 1) / threads * threads);
  const auto run_part = [&](std::size_t part, std::size_t thread) {
    const std::size_t begin = rows * part / parts;
    body(begin, rows * (part + 1) / parts - begin, workspace.lanes_[thread]);
  };
  if (threads == 1) {
    for (std::size_t part = 0; part < parts; ++part) run_part(part, 0);
    return;
  }
  std::exception_ptr failure;  // must not leave the region
#pragma omp parallel for schedule(static) num_threads(threads_)
  for (std::size_t part = 0; part < parts; ++part) {
    try {
      run_part(part, static_cast<std::size_t>(omp_get_thread_num()));
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void Encoder::embed_tokens(std::span<const Sequence> sequences, std::span<const std::size_t> second_texts,
                           Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  assert(second_texts.empty() || second_texts.size() == sequences.size());
  float* row = workspace.hidden_.data();
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const Sequence sequence = sequences[i];
    assert(!sequence.empty() && sequence.size() <= config_.max_positions());
    const float* const second_text = second_texts.empty() ? nullptr : row + second_texts[i] * width;
    std::size_t position = config_.position_offset;
    for (const std::int32_t id : sequence) {
      std::size_t position_row = position;
      if (config_.architecture == Architecture::xlm_roberta && id == config_.padding_id) {
        // A text may spell out the padding token; XLM-RoBERTa then gives it the padding's position and does not count.
        position_row = static_cast<std::size_t>(config_.padding_id);
      } else {
        ++position;
      }
      add_rows(&words_.values[static_cast<std::size_t>(id) * width], &positions_[position_row * width], row, width);
      if (second_text != nullptr && row >= second_text) add_rows(row, second_type_, row, width);
      row += width;
    }
    tokens += sequence.size();
  }
  add_layer_norm(workspace.hidden_.data(), nullptr, tokens, width, norm_);
}

void Encoder::attend_all(std::span<const Sequence> sequences, Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  const std::size_t head_size = config_.head_size();
  std::size_t longest = 0;
  for (const Sequence sequence : sequences) longest = std::max(longest, sequence.size());
  for (Workspace::Lane& lane : workspace.lanes_) lane.attention.reserve(attention_scratch(longest, head_size));
  std::size_t begin = 0;
  for (const Sequence sequence : sequences) {
    const auto attend_head = [&](std::size_t head, std::size_t thread) {
      attend(workspace.projections_.data() + begin * 3 * width + head * head_size, sequence.size(), head_size,
             3 * width, width, workspace.context_.data() + begin * width + head * head_size, width,
             workspace.lanes_[thread].attention.data());
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
  float* update = workspace.update_.data();
  Workspace::Lane& lane = workspace.lanes_.front();  // oneDNN has threads of its own
  void* inner = lane.inner.data();
  const auto given = [&](const float* rows, std::size_t count) -> const void* {
    if (arithmetic_ == Arithmetic::f32) return rows;
    round_to_bf16(rows, count * width, workspace.rounded_.data());
    return workspace.rounded_.data();
  };
  for_each_chunk(tokens, [&](std::size_t begin, std::size_t rows) {
    projection_.run(given(hidden + begin * width, rows), rows, layer.projection.packed,
                    workspace.projections_.data() + begin * 3 * width, lane.stream, lane.scratch);
  });
  attend_all(sequences, workspace);
  for_each_chunk(tokens, [&](std::size_t begin, std::size_t rows) {
    float* chunk = hidden + begin * width;
    attention_output_.run(given(workspace.context_.data() + begin * width, rows), rows, layer.attention_output.packed,
                          update, lane.stream, lane.scratch);
    add_layer_norm(chunk, update, rows, width, layer.attention_norm);
    up_.run(given(chunk, rows), rows, layer.up.packed, inner, lane.stream, lane.scratch);
    down_.run(inner, rows, layer.down.packed, update, lane.stream, lane.scratch);
    add_layer_norm(chunk, update, rows, width, layer.output_norm);
  });
}

void Encoder::run_layer_int8(const Layer& layer, std::span<const Sequence> sequences, std::size_t tokens,
                             Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  const std::size_t inner_width = config_.intermediate_size;
  const auto multiply = [](const MatrixProduct& product, const Linear& linear, const std::uint8_t* codes,
                           const RowCode* row_codes, std::size_t rows, std::size_t out, Workspace::Lane& lane) {
    product.run(codes, rows, linear.packed, lane.sums.data(), lane.stream, lane.scratch);
    return Sums{lane.sums.data(), row_codes, rows, out};
  };
  for_each_part(tokens, workspace, [&](std::size_t begin, std::size_t rows, Workspace::Lane& lane) {
    const Sums found = multiply(projection_, layer.projection, workspace.hidden_codes_.codes.data() + begin * width,
                                workspace.hidden_codes_.rows.data() + begin, rows, 3 * width, lane);
    dequantize(found, layer.projection.columns(), workspace.projections_.data() + begin * 3 * width);
  });
  attend_all(sequences, workspace);
  for_each_part(tokens, workspace, [&](std::size_t begin, std::size_t rows, Workspace::Lane& lane) {
    float* hidden = workspace.hidden_.data() + begin * width;
    std::uint8_t* hidden_codes = workspace.hidden_codes_.codes.data() + begin * width;
    RowCode* hidden_rows = workspace.hidden_codes_.rows.data() + begin;
    std::uint8_t* context_codes = lane.context_codes.codes.data();
    RowCode* context_rows = lane.context_codes.rows.data();
    std::uint8_t* inner_codes = lane.inner_codes.codes.data();
    RowCode* inner_rows = lane.inner_codes.rows.data();
    quantize_rows(workspace.context_.data() + begin * width, rows, width, context_codes, context_rows);
    Sums found = multiply(attention_output_, layer.attention_output, context_codes, context_rows, rows, width, lane);
    add_layer_norm_quantize(found, layer.attention_output.columns(), layer.attention_norm, hidden, hidden_codes,
                            hidden_rows);
    found = multiply(up_, layer.up, hidden_codes, hidden_rows, rows, inner_width, lane);
    activate_quantize(found, layer.up.columns(), config_.activation, lane.inner.data(), inner_codes, inner_rows);
    found = multiply(down_, layer.down, inner_codes, inner_rows, rows, width, lane);
    add_layer_norm_quantize(found, layer.down.columns(), layer.output_norm, hidden, hidden_codes, hidden_rows);
  });
}

void Encoder::reserve(std::size_t tokens, Workspace& workspace) const {
  const std::size_t width = config_.hidden_size;
  const std::size_t chunk = std::min(tokens, MatrixProduct::max_rows);
  while (workspace.lanes_.size() < static_cast<std::size_t>(threads_)) workspace.lanes_.emplace_back();
  workspace.hidden_.reserve(tokens * width);
  workspace.projections_.reserve(tokens * 3 * width);
  workspace.context_.reserve(tokens * width);
  if (arithmetic_ != Arithmetic::int8) {
    workspace.update_.reserve(chunk * width);
    workspace.lanes_.front().inner.reserve(chunk * config_.intermediate_size);  // of bf16 half of it
    if (arithmetic_ == Arithmetic::bf16) workspace.rounded_.reserve(chunk * width);
    return;
  }
  workspace.hidden_codes_.reserve(tokens, width);
  for (Workspace::Lane& lane : workspace.lanes_) {
    lane.inner.reserve(config_.intermediate_size);
    lane.context_codes.reserve(chunk, width);
    lane.inner_codes.reserve(chunk, config_.intermediate_size);
    lane.sums.reserve(chunk * std::max(3 * width, config_.intermediate_size));
  }
}

void Encoder::prepare(std::size_t tokens) const {
  const OpenMpThreads inside(arithmetic_ == Arithmetic::int8 ? 1 : threads_);
  for (const MatrixProduct* product : {&projection_, &attention_output_, &up_, &down_}) {
    for (std::size_t rows = 1; rows <= std::min(tokens, MatrixProduct::max_rows); ++rows) product->prepare(rows);
  }
}

void Encoder::run(std::span<const Sequence> sequences, Workspace& workspace,
                  std::span<const std::size_t> second_texts) const {
  std::size_t tokens = 0;
  for (const Sequence sequence : sequences) tokens += sequence.size();
  if (tokens == 0) return;
  reserve(tokens, workspace);
  embed_tokens(sequences, second_texts, workspace);
  if (arithmetic_ != Arithmetic::int8) {
    const OpenMpThreads inside(threads_);  // oneDNN takes its number of threads from OpenMP, when making kernels too
    for (const Layer& layer : layers_) run_layer(layer, sequences, tokens, workspace);
    return;
  }
  const OpenMpThreads inside(1);  // each part of the tokens has a thread of its own
  quantize_rows(workspace.hidden_.data(), tokens, config_.hidden_size, workspace.hidden_codes_.codes.data(),
                workspace.hidden_codes_.rows.data());
  for (const Layer& layer : layers_) run_layer_int8(layer, sequences, tokens, workspace);
}

}  // namespace promptcache::embed
