#include "promptcache/reuse/compute.hpp"

#include <algorithm>
#include <map>
#include <optional>

namespace promptcache::reuse {
namespace {

/// Tokens at consecutive positions that belong into one block.
struct Stretch {
  std::span<const std::int32_t> tokens;
  std::size_t position = 0;
  std::optional<std::size_t> text_order;  ///< place among the blocks of all texts; none: to be computed again
  std::size_t block = 0, row = 0;         ///< of the context, for what is computed again
};

std::vector<Stretch> stretches_of(std::span<const PlacedTokens> texts, std::span<const Recomputed> again,
                                  const std::vector<PlacedBlock>& context, Visibility visibility) {
  std::vector<Stretch> result;
  for (const Recomputed& one : again) {
    result.push_back({{&one.token, 1}, context[one.block].position + one.row, std::nullopt, one.block, one.row});
  }
  std::size_t order = 0;
  for (const PlacedTokens& text : texts) {
    for (std::size_t at = 0; at < text.tokens.size(); at += KvBlock::most_tokens) {
      const std::size_t count = std::min(KvBlock::most_tokens, text.tokens.size() - at);
      result.push_back({text.tokens.subspan(at, count), text.position + at, order++});
    }
  }
  // What a token sees must be there: smaller positions first.
  if (visibility == Visibility::position_causal) std::ranges::stable_sort(result, {}, &Stretch::position);
  return result;
}

/// Rows at positions before `position`.
std::uint32_t rows_before(std::size_t position, const PlacedBlock& block) {
  return position <= block.position ? 0 : static_cast<std::uint32_t>(std::min(position - block.position, block.rows));
}

}  // namespace

Computed compute(const Decoder& decoder, std::vector<PlacedBlock>& context, std::span<const PlacedTokens> texts,
                 std::span<const Recomputed> again, const ComputeOptions& options) {
  const std::vector<Stretch> stretches = stretches_of(texts, again, context, options.visibility);
  std::map<std::size_t, std::shared_ptr<KvBlock>> rewritten;
  for (const Recomputed& one : again) {
    auto& copy = rewritten[one.block];
    if (copy == nullptr) copy = std::make_shared<KvBlock>(context[one.block].block->clone());
    context[one.block].block = copy;
  }
  std::size_t last = 0;  // position of the last token of all
  std::size_t blocks = 0;
  for (const Stretch& stretch : stretches) {
    last = std::max(last, stretch.position + stretch.tokens.size() - 1);
    blocks += stretch.text_order ? 1 : 0;
  }
  Computed result;
  result.blocks.resize(blocks);
  std::vector<PlacedBlock> past = context;
  for (std::size_t at = 0; at < stretches.size();) {
    Step step;
    step.layers = options.layers;
    for (const PlacedBlock& block : past) step.runs.push_back({block.block.get(), block.position});
    for (const auto& [block, copy] : rewritten) step.runs[block].open = copy.get();
    std::vector<bool> by_position;  // of each token
    std::vector<std::size_t> wanted;
    // As many stretches as fit into one step.
    for (; at < stretches.size(); ++at) {
      const Stretch& stretch = stretches[at];
      if (!step.tokens.empty() && step.tokens.size() + stretch.tokens.size() > options.most_at_once) break;
      std::size_t run = stretch.block;
      if (stretch.text_order) {
        const auto block = std::make_shared<KvBlock>(decoder.kv_shape(), stretch.tokens.size());
        block->resize(stretch.tokens.size());
        run = step.runs.size();
        step.runs.push_back({block.get(), stretch.position, block.get()});
        past.push_back({block, stretch.position, stretch.tokens.size()});
        result.blocks[*stretch.text_order] = past.back();
      }
      for (std::size_t i = 0; i < stretch.tokens.size(); ++i) {
        if (options.logits && stretch.position + i == last) wanted.push_back(step.tokens.size());
        by_position.push_back(!stretch.text_order || options.visibility == Visibility::position_causal);
        step.tokens.push_back({stretch.tokens[i], run, stretch.row + i});
      }
    }
    step.visible.resize(step.tokens.size() * step.runs.size());
    for (std::size_t i = 0; i < step.tokens.size(); ++i) {
      const NewToken& token = step.tokens[i];
      for (std::size_t run = 0; run < step.runs.size(); ++run) {
        if (run == token.run) {
          step.sees(i, run) = static_cast<std::uint32_t>(token.row + 1);
        } else if (by_position[i]) {
          step.sees(i, run) = rows_before(step.position(i), past[run]);
        } else {
          step.sees(i, run) = run < token.run ? static_cast<std::uint32_t>(past[run].rows) : 0;
        }
      }
    }
    std::vector<float> logits = decoder.run(step, wanted);
    if (!wanted.empty()) result.logits = std::move(logits);
  }
  return result;
}

}  // namespace promptcache::reuse
