#include "promptcache/embed/transformer_embedder.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "embed/kernels.hpp"
#include "embed/opened_encoder.hpp"
#include "embed/workspace_pool.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/text/tokenizer.hpp"

namespace promptcache {
namespace {

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
  embed::OpenedEncoder encoder;
  mutable embed::WorkspacePool workspaces;

  Impl(ModelDirectory opened, const EmbedderOptions& options)
      : directory(std::move(opened)),
        tokenizer(open_tokenizer(directory)),
        prefix(chosen_prefix(directory, options.prompt_name)),
        prefix_alone(tokenizer->encode(prefix, directory.encoder().max_positions())),
        max_tokens(embed::chosen_max_tokens(directory, options.max_tokens, prefix_alone.ids.size() + 1)),
        notes(directory.file("model.safetensors")),
        identity(make_identity()),
        encoder(embed::open_encoder(
            directory, notes, options, usual_tokens,
            {"", least_cosine,
             [this](const embed::Encoder& a, const embed::Encoder& b) { return lowest_cosine(a, b); }})),
        workspaces(embed::parallel_callers(options)) {}

  double lowest_cosine(const embed::Encoder& a, const embed::Encoder& b) const {
    embed::Workspace workspace;
    const std::size_t width = directory.encoder().hidden_size;
    std::vector<float> of_a(width);
    std::vector<float> of_b(width);
    double lowest = 1;
    for (const std::string_view probe : embed::probe_texts()) {
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
    return embed::encoder_fields("embedder", directory, notes, *tokenizer)
        .field("pooling", directory.pooling() == Pooling::mean ? "mean" : "cls")
        .field("prefix", prefix)
        .field("max_tokens", std::to_string(max_tokens))
        .finish();
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

Precision TransformerEmbedder::precision() const { return impl_->encoder.precision; }

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
    impl_->encoder.encoder->run(block, *workspace);
    const float* hidden = workspace->hidden();
    for (std::size_t i = 0; i < block.size(); ++i) {
      impl_->pool(hidden, block[i].size(), out.data() + order[begin + i] * width);
      hidden += block[i].size() * width;
    }
  }
  return report;
}

}  // namespace promptcache
