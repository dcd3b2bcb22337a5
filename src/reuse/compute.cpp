#include "promptcache/reuse/compute.hpp"

#include <algorithm>

namespace promptcache::reuse {
namespace {

/// A block's worth of a text.
struct Cut {
  std::span<const std::int32_t> tokens;
  std::size_t position;
  std::size_t text;
  std::size_t order;  // among the pieces of all texts
};

/// Texts in the order they are to be computed in, cut into blocks.
std::vector<Cut> pieces_of(std::span<const PlacedTokens> texts, Visibility visibility) {
  std::vector<Cut> pieces;
  for (std::size_t text = 0; text < texts.size(); ++text) {
    for (std::size_t at = 0; at < texts[text].tokens.size(); at += KvBlock::most_tokens) {
      const std::size_t count = std::min(KvBlock::most_tokens, texts[text].tokens.size() - at);
      pieces.push_back({texts[text].tokens.subspan(at, count), texts[text].position + at, text, pieces.size()});
    }
  }
  // What a token sees must be there: smaller positions first.
  if (visibility == Visibility::position_causal) std::ranges::stable_sort(pieces, {}, &Cut::position);
  return pieces;
}

/// Rows of a run that are at positions before `position`.
std::uint32_t rows_before(std::size_t position, const KvRun& run, std::size_t rows) {
  if (position <= run.position) return 0;
  return static_cast<std::uint32_t>(std::min(position - run.position, rows));
}

}  // namespace

Computed compute(const Decoder& decoder, std::span<const PlacedBlock> context, std::span<const PlacedTokens> texts,
                 const ComputeOptions& options) {
  const bool by_position = options.visibility == Visibility::position_causal;
  const std::vector<Cut> pieces = pieces_of(texts, options.visibility);
  std::vector<PlacedBlock> past(context.begin(), context.end());
  std::vector<PlacedBlock> made(pieces.size());  // by order
  Computed result;
  for (std::size_t at = 0; at < pieces.size();) {
    // As many pieces as fit into one step.
    std::size_t end = at, tokens = 0;
    while (end < pieces.size() && (end == at || tokens + pieces[end].tokens.size() <= options.most_at_once)) {
      tokens += pieces[end++].tokens.size();
    }
    Step step;
    for (const PlacedBlock& block : past) step.runs.push_back({block.block.get(), block.position, block.first_row});
    std::vector<std::shared_ptr<KvBlock>> open;
    std::vector<std::size_t> wanted;
    for (std::size_t i = at; i < end; ++i) {
      const Cut& piece = pieces[i];
      open.push_back(std::make_shared<KvBlock>(decoder.kv_shape(), piece.tokens.size()));
      open.back()->resize(piece.tokens.size());
      for (std::size_t row = 0; row < piece.tokens.size(); ++row) {
        step.tokens.push_back({piece.tokens[row], step.runs.size(), row});
      }
      step.runs.push_back({open.back().get(), piece.position, 0, open.back().get()});
      const bool last = piece.order + 1 == pieces.size();
      if (options.logits && last) wanted.push_back(step.tokens.size() - 1);
    }
    step.visible.resize(step.tokens.size() * step.runs.size());
    for (std::size_t i = 0; i < step.tokens.size(); ++i) {
      const std::size_t own = step.tokens[i].run;
      for (std::size_t run = 0; run < step.runs.size(); ++run) {
        const std::size_t rows = run < past.size() ? past[run].rows : step.runs[run].block->size();
        if (run == own) {
          step.sees(i, run) = static_cast<std::uint32_t>(step.tokens[i].row + 1);
        } else if (by_position) {
          step.sees(i, run) = rows_before(step.position(i), step.runs[run], rows);
        } else {
          step.sees(i, run) = run < own ? static_cast<std::uint32_t>(rows) : 0;
        }
      }
    }
    std::vector<float> logits = decoder.run(step, wanted);
    if (!wanted.empty()) result.logits = std::move(logits);
    for (std::size_t i = at; i < end; ++i) {
      const PlacedBlock placed{open[i - at], pieces[i].position, pieces[i].tokens.size(), 0};
      past.push_back(placed);
      made[pieces[i].order] = placed;
    }
    at = end;
  }
  result.blocks = std::move(made);
  return result;
}

}  // namespace promptcache::reuse
