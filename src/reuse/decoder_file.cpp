#include "promptcache/reuse/decoder_file.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "reuse/decoder_source.hpp"

namespace promptcache::reuse {
namespace {

/// [rows, columns] to [columns, rows].
std::vector<float> transposed(const std::vector<float>& values, std::size_t rows, std::size_t columns) {
  std::vector<float> result(values.size());
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      result[column * rows + row] = values[row * columns + column];
    }
  }
  return result;
}

/// Rows of each head from pairs (one of the first half, one of the second) to the two halves.
std::vector<float> halves_of_pairs(const std::vector<float>& values, std::size_t rows, std::size_t heads) {
  const std::size_t columns = values.size() / rows;
  const std::size_t head = rows / heads;
  std::vector<float> result(values.size());
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t inside = row % head;
    const std::size_t to = row - inside + inside / 2 + (inside % 2) * (head / 2);
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(row * columns), columns,
                result.begin() + static_cast<std::ptrdiff_t>(to * columns));
  }
  return result;
}

std::string sizes_of(const DecoderConfig& config) {
  return "width " + std::to_string(config.width) + ", " + std::to_string(config.layers) + " layers, " +
         std::to_string(config.heads) + " heads of " + std::to_string(config.head_size) + ", " +
         std::to_string(config.kv_heads) + " of keys and values, inner width " + std::to_string(config.inner) + ", " +
         std::to_string(config.vocabulary) + " tokens, context " + std::to_string(config.context);
}

}  // namespace

void check_config(const std::string& path, const DecoderConfig& config) {
  constexpr std::size_t most = 1U << 24;
  const std::size_t sizes[] = {config.width,     config.layers, config.heads,      config.kv_heads,
                               config.head_size, config.inner,  config.vocabulary, config.context};
  const bool in_range = std::ranges::all_of(sizes, [](std::size_t size) { return size > 0 && size <= most; });
  if (!in_range || config.heads % config.kv_heads != 0 || config.head_size % 2 != 0) {
    throw Error(ErrorCode::format, {path}, sizes_of(config),
                "sizes above zero, an even head size, and heads that share those of keys and values evenly");
  }
  if (!(config.norm_eps > 0) || !std::isfinite(config.norm_eps)) {
    throw Error(ErrorCode::format, {path}, "an epsilon of " + std::to_string(config.norm_eps) + " in the norms",
                "one above zero");
  }
  const bool turns = std::ranges::all_of(config.rope, [](double f) { return std::isfinite(f) && f > 0; });
  if (!turns)
    throw Error(ErrorCode::format, {path}, "no usable base or factor of rotary positions", "finite ones above zero");
}

std::vector<double> rope_frequencies(double base, std::size_t head_size) {
  std::vector<double> frequencies(head_size / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = std::pow(base, -2 * static_cast<double>(i) / static_cast<double>(head_size));
  }
  return frequencies;
}

void scale_linearly(std::vector<double>& frequencies, double factor) {
  for (double& frequency : frequencies) frequency /= factor;
}

DecoderFile DecoderFile::open(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    throw Error(ErrorCode::not_found, {path}, "nothing there", "a model directory or a GGUF file");
  }
  auto source = std::filesystem::is_directory(path) ? open_directory(path) : open_gguf(path);
  check_config(path, source->config);
  return DecoderFile(std::move(source));
}

DecoderFile::DecoderFile(std::shared_ptr<const Source> source) : source_(std::move(source)) {}
DecoderFile::DecoderFile(DecoderFile&&) noexcept = default;
DecoderFile& DecoderFile::operator=(DecoderFile&&) noexcept = default;
DecoderFile::~DecoderFile() = default;

const std::string& DecoderFile::path() const { return source_->path; }
const DecoderConfig& DecoderFile::config() const { return source_->config; }
Digest DecoderFile::identity() const { return source_->identity; }

std::vector<std::size_t> DecoderFile::shape(DecoderPart part) const {
  const DecoderConfig& c = source_->config;
  switch (part) {
    case DecoderPart::words:
    case DecoderPart::output: return {c.vocabulary, c.width};
    case DecoderPart::positions: return {c.context, c.width};
    case DecoderPart::query: return {c.query_width(), c.width};
    case DecoderPart::query_bias: return {c.query_width()};
    case DecoderPart::key:
    case DecoderPart::value: return {c.kv_width(), c.width};
    case DecoderPart::key_bias:
    case DecoderPart::value_bias: return {c.kv_width()};
    case DecoderPart::attention_output: return {c.width, c.query_width()};
    case DecoderPart::gate:
    case DecoderPart::up: return {c.inner, c.width};
    case DecoderPart::gate_bias:
    case DecoderPart::up_bias: return {c.inner};
    case DecoderPart::down: return {c.width, c.inner};
    case DecoderPart::attention_norm:
    case DecoderPart::attention_norm_bias:
    case DecoderPart::attention_output_bias:
    case DecoderPart::inner_norm:
    case DecoderPart::inner_norm_bias:
    case DecoderPart::down_bias:
    case DecoderPart::final_norm:
    case DecoderPart::final_norm_bias: return {c.width};
  }
  return {};
}

bool DecoderFile::has(DecoderPart part, std::size_t layer) const {
  const auto stored = source_->stored(part, layer);
  return stored && source_->contains(stored->name);
}

std::vector<float> DecoderFile::read(DecoderPart part, std::size_t layer) const {
  const auto stored = source_->stored(part, layer);
  if (!stored)
    throw Error(ErrorCode::not_found, {source_->path}, "a part that this family of decoders does not have",
                "another part");
  const std::vector<std::size_t> wanted = shape(part);
  const std::vector<std::size_t> there = stored->shape.empty() ? wanted : stored->shape;
  std::vector<float> values = source_->read(stored->name, there);
  std::size_t count = 1;
  for (const std::size_t size : wanted) count *= size;
  if (stored->transposed) values = transposed(values, there[0], there[1]);
  if (values.size() != count) {
    const std::size_t columns = count / wanted[0];
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(stored->first_row * columns);
    values = std::vector<float>(first, first + static_cast<std::ptrdiff_t>(count));
  }
  return stored->interleaved_heads > 0 ? halves_of_pairs(values, wanted[0], stored->interleaved_heads) : values;
}

std::shared_ptr<const BpeTokenizer> DecoderFile::tokenizer() const {
  auto tokenizer = source_->tokenizer();
  if (tokenizer->vocabulary_size() > source_->config.vocabulary) {
    throw Error(ErrorCode::mismatch, {source_->path},
                "a tokenizer of " + std::to_string(tokenizer->vocabulary_size()) + " tokens",
                "at most the " + std::to_string(source_->config.vocabulary) + " of the model");
  }
  return tokenizer;
}

ChatTags DecoderFile::chat() const {
  const std::string text = source_->chat_template();
  if (text.empty()) throw Error(ErrorCode::not_found, {source_->path}, "no chat template", "a model made for chat");
  const auto says = [&](const char* mark) { return text.find(mark) != std::string::npos; };
  if (says("<|im_start|>")) return ChatTags::chatml();
  if (says("<|start_header_id|>")) return ChatTags::llama3();
  if (says("[INST]") && says("<<SYS>>")) return ChatTags::llama2();
  throw Error(ErrorCode::unsupported, {source_->path}, "a chat template that begins '" + text.substr(0, 60) + "'",
              "one of ChatML, Llama-2 or Llama-3");
}

}  // namespace promptcache::reuse
