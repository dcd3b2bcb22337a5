#include "promptcache/embed/transformer_pair_scorer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "embed/opened_encoder.hpp"
#include "embed/workspace_pool.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/model/pair_head.hpp"
#include "promptcache/text/tokenizer.hpp"
#include "text/pair_encoding.hpp"

namespace promptcache {
namespace {

constexpr double least_agreement = 0.95;  // one less the largest difference of a probability

constexpr std::size_t usual_tokens = 48;  // of a pair whose first score should take no longer than its second

double probability(float logit) { return 1 / (1 + std::exp(-static_cast<double>(logit))); }

TextPair in_order(const TextPair& pair) { return pair.second < pair.first ? TextPair{pair.second, pair.first} : pair; }

const std::string& without_prompts(const std::string& directory, const EmbedderOptions& options) {
  if (options.prompt_name.empty()) return directory;
  throw Error(ErrorCode::usage, {"EmbedderOptions.prompt_name"}, "'" + options.prompt_name + "'",
              "none: a pair scorer has no prompts");
}

}  // namespace

struct TransformerPairScorer::Impl {
  ModelDirectory directory;
  std::shared_ptr<const Tokenizer> tokenizer;
  PairHead head;
  std::size_t max_tokens;
  embed::WeightsNotes notes;
  Digest identity;
  embed::OpenedEncoder encoder;
  mutable embed::WorkspacePool workspaces;

  Impl(ModelDirectory opened, const EmbedderOptions& options)
      : directory(std::move(opened)),
        tokenizer(open_tokenizer(directory)),
        head(load_pair_head(directory)),
        max_tokens(embed::chosen_max_tokens(directory, options.max_tokens,
                                            text::special_tokens_of_pair(directory.encoder().architecture) + 1)),
        notes(directory.file("model.safetensors")),
        identity(make_identity()),
        encoder(embed::open_encoder(
            directory, notes, options, usual_tokens,
            {" pairs", least_agreement,
             [this](const embed::Encoder& a, const embed::Encoder& b) { return lowest_agreement(a, b); }})),
        workspaces(embed::parallel_callers(options)) {}

  text::PairEncoding encode(const TextPair& pair) const {
    return text::encode_pair(*tokenizer, directory.encoder().architecture, pair.first, pair.second, max_tokens);
  }

  double lowest_agreement(const embed::Encoder& a, const embed::Encoder& b) const {
    embed::Workspace workspace;
    double lowest = 1;
    const std::span<const std::string_view> texts = embed::probe_texts();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      for (const std::size_t other : {i, (i + 1) % texts.size()}) {
        const text::PairEncoding pair = encode({texts[i], texts[other]});
        const embed::Sequence sequence = pair.ids;
        a.run({&sequence, 1}, workspace, {&pair.second_text, 1});
        const double of_a = probability(logit(workspace.hidden()));
        b.run({&sequence, 1}, workspace, {&pair.second_text, 1});
        const double agreement = 1 - std::abs(of_a - probability(logit(workspace.hidden())));
        if (!(agreement >= lowest)) lowest = agreement;  // NaN too
      }
    }
    return lowest;
  }

  float logit(const float* first_token) const { return head.logit({first_token, directory.encoder().hidden_size}); }

  Digest make_identity() const {
    return embed::encoder_fields("pair scorer", directory, notes, *tokenizer)
        .field("max_tokens", std::to_string(max_tokens))
        .finish();
  }

  void run(std::span<const text::PairEncoding> pairs, std::span<float> logits) const {
    std::vector<std::size_t> order(pairs.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return pairs[a].ids.size() > pairs[b].ids.size(); });
    const embed::WorkspacePool::Lease workspace(workspaces);
    std::vector<embed::Sequence> block;
    std::vector<std::size_t> second_texts;
    for (std::size_t begin = 0; begin < order.size(); begin += block.size()) {
      block.clear();
      second_texts.clear();
      std::size_t tokens = 0;
      for (std::size_t i = begin; i < order.size(); ++i) {
        const text::PairEncoding& pair = pairs[order[i]];
        if (!block.empty() && tokens + pair.ids.size() > embed::Encoder::block_tokens) break;
        block.emplace_back(pair.ids);
        second_texts.push_back(pair.second_text);
        tokens += pair.ids.size();
      }
      encoder.encoder->run(block, *workspace, second_texts);
      const float* hidden = workspace->hidden();
      for (std::size_t i = 0; i < block.size(); ++i) {
        logits[order[begin + i]] = logit(hidden);
        hidden += block[i].size() * directory.encoder().hidden_size;
      }
    }
  }
};

TransformerPairScorer::TransformerPairScorer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

TransformerPairScorer::~TransformerPairScorer() = default;

std::shared_ptr<const TransformerPairScorer> TransformerPairScorer::open(const std::string& directory,
                                                                         const EmbedderOptions& options) {
  return std::shared_ptr<const TransformerPairScorer>(new TransformerPairScorer(
      std::make_unique<Impl>(ModelDirectory::open(without_prompts(directory, options)), options)));
}

Digest TransformerPairScorer::identity() const { return impl_->identity; }

Precision TransformerPairScorer::precision() const { return impl_->encoder.precision; }

std::size_t TransformerPairScorer::max_tokens() const { return impl_->max_tokens; }

PairReport TransformerPairScorer::score(std::span<const TextPair> pairs, std::span<float> logits) const {
  if (logits.size() != pairs.size()) {
    throw Error(ErrorCode::usage, {"TransformerPairScorer::score"}, std::to_string(logits.size()) + " floats of output",
                std::to_string(pairs.size()));
  }
  PairReport report;
  std::vector<text::PairEncoding> encodings;
  encodings.reserve(pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const text::PairEncoding& encoding = encodings.emplace_back(impl_->encode(in_order(pairs[i])));
    report.tokens += encoding.ids.size();
    if (encoding.truncated()) report.truncated.push_back(i);
  }
  impl_->run(encodings, logits);
  return report;
}

float TransformerPairScorer::score_in_order(std::string_view first, std::string_view second) const {
  const text::PairEncoding encoding = impl_->encode({first, second});
  float logit = 0;
  impl_->run({&encoding, 1}, {&logit, 1});
  return logit;
}

}  // namespace promptcache
