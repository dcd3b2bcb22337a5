#include "promptcache/embed/transformer_embedder.hpp"

#include <algorithm>
#include <numeric>
#include <thread>
#include <vector>

#include "embed/encoder.hpp"
#include "embed/kernels.hpp"
#include "embed/packed_file.hpp"
#include "embed/weights_notes.hpp"
#include "embed/workspace_pool.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/model/encoder_weights.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/text/tokenizer.hpp"

namespace promptcache {
namespace {

constexpr std::size_t most_threads = 1024;

std::string quoted_names(const std::map<std::string, std::string>& prompts) {
  std::string names;
  for (const auto& [name, text] : prompts) names += (names.empty() ? "'" : ", '") + name + "'";
  return names.empty() ? "no prompt name: the model has none" : "one of " + names;
}

std::string chosen_prefix(const ModelDirectory& directory, const std::string& prompt_name) {
  if (prompt_name.empty()) return directory.prefix();
  const auto found = directory.prompts().find(prompt_name);
  if (found != directory.prompts().end()) return found->second;
  throw Error(ErrorCode::not_found, {directory.path()}, "prompt name '" + prompt_name + "'",
              quoted_names(directory.prompts()));
}

std::size_t chosen_max_tokens(const ModelDirectory& directory, std::size_t wanted, std::size_t special_tokens) {
  if (wanted == 0) return directory.max_tokens();
  const std::size_t least = special_tokens + 1;
  const std::size_t most = directory.encoder().max_positions();
  if (wanted >= least && wanted <= most) return wanted;
  throw Error(ErrorCode::usage, {"EmbedderOptions.max_tokens"}, std::to_string(wanted),
              "0, or " + std::to_string(least) + " to " + std::to_string(most) + " for this model");
}

std::size_t checked_threads(const char* place, std::size_t value) {
  if (value >= 1 && value <= most_threads) return value;
  throw Error(ErrorCode::usage, {place}, std::to_string(value), "1 to " + std::to_string(most_threads));
}

// Of many kinds, so that an encoder that works in f32 only shows it.
constexpr std::string_view probes[] = {
    "How do I reset my password?",
    "cancel order 48213 and refund it to the old card",
    "Why does my build fail with 'undefined reference to pthread_create'?",
    "Is it safe to take ibuprofen and paracetamol together, and how many hours must lie between them?",
    "enable two-factor authentication",
    "SELECT name FROM users WHERE age > 30 ORDER BY name;",
    "the weather in Paris on 3 May",
    "no",
};
constexpr double least_cosine = 0.99;

constexpr std::size_t usual_tokens = 32;  // of a prompt whose first embedding should take no longer than its second

}  // namespace

const char* to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::automatic: return "automatic";
    case Precision::f32: return "f32";
    case Precision::bf16: return "bf16";
    case Precision::int8: return "int8";
  }
  return "unknown";
}

Precision precision_from(std::string_view name, const std::string& place) {
  for (const Precision each : {Precision::automatic, Precision::f32, Precision::bf16, Precision::int8}) {
    if (name == to_string(each)) return each;
  }
  throw Error(ErrorCode::usage, {place}, "precision '" + std::string(name) + "'", "automatic, f32, bf16 or int8");
}

struct TransformerEmbedder::Impl {
  ModelDirectory directory;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string prefix;
  Encoding prefix_alone;  // what every input has in common: special tokens and the prefix
  std::size_t max_tokens;
  embed::WeightsNotes notes;
  Digest identity;
  Precision precision;
  std::unique_ptr<const embed::Encoder> encoder;
  mutable embed::WorkspacePool workspaces;

  Impl(ModelDirectory opened, const EmbedderOptions& options)
      : directory(std::move(opened)),
        tokenizer(open_tokenizer(directory)),
        prefix(chosen_prefix(directory, options.prompt_name)),
        prefix_alone(tokenizer->encode(prefix, directory.encoder().max_positions())),
        max_tokens(chosen_max_tokens(directory, options.max_tokens, prefix_alone.ids.size())),
        notes(directory.file("model.safetensors")),
        identity(make_identity()),
        precision(options.precision),
        encoder(make_encoder(
            static_cast<int>(checked_threads("EmbedderOptions.threads_per_call", options.threads_per_call)))),
        workspaces(checked_threads("EmbedderOptions.parallel_callers",
                                   options.parallel_callers != 0
                                       ? options.parallel_callers
                                       : std::max<std::size_t>(1, std::thread::hardware_concurrency()))) {
    notes.save();
    encoder->prepare(usual_tokens);
  }

  static embed::Arithmetic arithmetic_of(Precision of) {
    if (of == Precision::bf16) return embed::Arithmetic::bf16;
    return of == Precision::int8 ? embed::Arithmetic::int8 : embed::Arithmetic::f32;
  }

  using EncoderPointer = std::unique_ptr<const embed::Encoder>;

  EncoderPointer make_encoder(int threads) {
    if (!embed::has_arithmetic(arithmetic_of(precision))) {
      throw Error(ErrorCode::unsupported, {"EmbedderOptions.precision"},
                  "bf16 on a processor without its instructions, or kept from them by PROMPTCACHE_ISA",
                  "automatic, f32 or int8");
    }
    return precision == Precision::automatic ? choose_encoder(threads) : open_encoder(precision, threads);
  }

  /// The fastest that agrees with f32.
  EncoderPointer choose_encoder(int threads) {
    EncoderPointer f32;
    for (const Precision candidate : {Precision::int8, Precision::bf16}) {
      if (!embed::has_arithmetic(arithmetic_of(candidate))) continue;
      std::optional<double> cosine = notes.cosine(to_string(candidate));
      EncoderPointer opened;
      if (!cosine) {
        if (!f32) f32 = open_encoder(Precision::f32, threads);
        opened = open_encoder(candidate, threads);
        cosine = lowest_cosine(*opened, *f32);
        notes.set_cosine(to_string(candidate), *cosine);
      }
      if (!(*cosine >= least_cosine)) continue;
      precision = candidate;
      return opened ? std::move(opened) : open_encoder(candidate, threads);
    }
    precision = Precision::f32;
    return f32 ? std::move(f32) : open_encoder(Precision::f32, threads);
  }

  /// Maps the weights as they were packed by an earlier opening, or packs them.
  EncoderPointer open_encoder(Precision of, int threads) const {
    const EncoderConfig& config = directory.encoder();
    const embed::Arithmetic arithmetic = arithmetic_of(of);
    const bool kept = of == Precision::int8;
    const std::string path = directory.file("promptcache-int8-" + std::string(active_isa()) + ".bin");
    if (kept) {
      const auto words = map_word_embeddings(directory);
      auto packed = words ? embed::map_packed_weights(path, packed_key()) : std::nullopt;
      if (packed) {
        return std::make_unique<const embed::Encoder>(config, embed::Shared<float>{words->file, words->values},
                                                      std::move(*packed), arithmetic, threads);
      }
    }
    auto packed_now =
        std::make_unique<const embed::Encoder>(config, load_encoder_weights(directory), arithmetic, threads);
    if (kept && notes.settled()) embed::save_packed_weights(path, packed_key(), packed_now->packed());
    return packed_now;
  }

  Digest packed_key() const {
    const EncoderConfig& config = directory.encoder();
    Sha256 hash;
    hash.field("packed", "int8").field("kernels", embed::kernel_versions()).field("weights", notes.digest().hex());
    for (const std::size_t size : {config.hidden_size, config.layers, config.heads, config.intermediate_size,
                                   config.vocabulary_size, config.position_rows, config.type_vocabulary_size}) {
      hash.field("size", std::to_string(size));
    }
    return hash.finish();
  }

  double lowest_cosine(const embed::Encoder& a, const embed::Encoder& b) const {
    embed::Workspace workspace;
    const std::size_t width = directory.encoder().hidden_size;
    std::vector<float> of_a(width);
    std::vector<float> of_b(width);
    double lowest = 1;
    for (const std::string_view probe : probes) {
      const Encoding encoding = tokenizer->encode(prefix + std::string(probe), max_tokens);
      const embed::Sequence sequence = encoding.ids;
      a.run({&sequence, 1}, workspace);
      pool(workspace.hidden(), sequence.size(), of_a.data());
      b.run({&sequence, 1}, workspace);
      pool(workspace.hidden(), sequence.size(), of_b.data());
      const double cosine = std::inner_product(of_a.begin(), of_a.end(), of_b.begin(), 0.0);
      if (!(cosine >= lowest)) lowest = cosine;  // NaN too
    }
    return lowest;
  }

  Digest make_identity() const {
    const EncoderConfig& config = directory.encoder();
    Sha256 hash;
    hash.field("embedder", "transformer");
    hash.field("weights", notes.digest().hex());
    hash.field("tokenizer", tokenizer->identity().hex());
    hash.field("architecture", config.architecture == Architecture::bert ? "bert" : "xlm_roberta");
    hash.field("heads", std::to_string(config.heads));
    hash.field("activation", std::to_string(static_cast<int>(config.activation)));
    hash.field("layer_norm_eps", std::to_string(static_cast<double>(config.layer_norm_eps) * 1e12));
    hash.field("pooling", directory.pooling() == Pooling::mean ? "mean" : "cls");
    hash.field("prefix", prefix);
    hash.field("max_tokens", std::to_string(max_tokens));
    return hash.finish();
  }

  // A text that vanished in the tokenizer, or became unknown tokens only, has the vector of many other texts.
  bool unrepresented(std::string_view text, const Encoding& encoding) const {
    if (text.empty() || encoding.ids.size() < prefix_alone.ids.size()) return false;
    const std::size_t own_tokens = encoding.ids.size() - prefix_alone.ids.size();
    return encoding.unknown_tokens >= prefix_alone.unknown_tokens + own_tokens;
  }

  void pool(const float* hidden, std::size_t tokens, float* out) const {
    const std::size_t width = directory.encoder().hidden_size;
    if (directory.pooling() == Pooling::cls) {
      std::copy_n(hidden, width, out);
    } else {
      embed::mean_rows(hidden, tokens, width, out);
    }
    embed::normalize(out, width);
  }
};

TransformerEmbedder::TransformerEmbedder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

TransformerEmbedder::~TransformerEmbedder() = default;

std::shared_ptr<const TransformerEmbedder> TransformerEmbedder::open(const std::string& directory,
                                                                     const EmbedderOptions& options) {
  return std::shared_ptr<const TransformerEmbedder>(
      new TransformerEmbedder(std::make_unique<Impl>(ModelDirectory::open(directory), options)));
}

std::size_t TransformerEmbedder::dimension() const { return impl_->directory.encoder().hidden_size; }

Digest TransformerEmbedder::identity() const { return impl_->identity; }

Precision TransformerEmbedder::precision() const { return impl_->precision; }

std::size_t TransformerEmbedder::max_tokens() const { return impl_->max_tokens; }

EmbedReport TransformerEmbedder::embed(std::span<const std::string_view> texts, std::span<float> out) const {
  const std::size_t width = dimension();
  if (out.size() != texts.size() * width) {
    throw Error(ErrorCode::usage, {"TransformerEmbedder::embed"}, std::to_string(out.size()) + " floats of output",
                std::to_string(texts.size()) + " x " + std::to_string(width));
  }
  EmbedReport report;
  std::vector<Encoding> encodings;
  encodings.reserve(texts.size());
  std::string prefixed;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::string_view text = texts[i];
    if (!impl_->prefix.empty()) {
      prefixed.assign(impl_->prefix).append(text);
      text = prefixed;
    }
    const Encoding& encoding = encodings.emplace_back(impl_->tokenizer->encode(text, impl_->max_tokens));
    report.tokens += encoding.ids.size();
    if (encoding.truncated()) report.truncated.push_back(i);
    if (impl_->unrepresented(texts[i], encoding)) report.unrepresented.push_back(i);
  }

  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return encodings[a].ids.size() > encodings[b].ids.size(); });

  const embed::WorkspacePool::Lease workspace(impl_->workspaces);
  std::vector<embed::Sequence> block;
  for (std::size_t begin = 0; begin < order.size(); begin += block.size()) {
    block.clear();
    std::size_t tokens = 0;
    for (std::size_t i = begin; i < order.size(); ++i) {
      const std::vector<std::int32_t>& ids = encodings[order[i]].ids;
      if (!block.empty() && tokens + ids.size() > embed::Encoder::block_tokens) break;
      block.emplace_back(ids);
      tokens += ids.size();
    }
    impl_->encoder->run(block, *workspace);
    const float* hidden = workspace->hidden();
    for (std::size_t i = 0; i < block.size(); ++i) {
      impl_->pool(hidden, block[i].size(), out.data() + order[begin + i] * width);
      hidden += block[i].size() * width;
    }
  }
  return report;
}

}  // namespace promptcache
