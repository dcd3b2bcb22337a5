#include "promptcache/reuse/decoder.hpp"

#include "promptcache/base/error.hpp"

namespace promptcache::reuse {
namespace {

Error refused(std::size_t token, const std::string& found, const std::string& wanted) {
  return {ErrorCode::usage, {"Step, token " + std::to_string(token)}, found, wanted};
}

}  // namespace

void Decoder::check(const Step& step, std::span<const std::size_t> wanted) const {
  const DecoderConfig& model = config();
  if (step.visible.size() != step.tokens.size() * step.runs.size()) {
    throw Error(ErrorCode::usage, {"Step"}, std::to_string(step.visible.size()) + " numbers of visible rows",
                std::to_string(step.tokens.size()) + " x " + std::to_string(step.runs.size()));
  }
  for (const KvRun& run : step.runs) {
    if (run.block == nullptr || run.block->shape() != kv_shape() || (run.open != nullptr && run.open != run.block)) {
      throw Error(ErrorCode::usage, {"Step"}, "a run without a block of this decoder's shape", "one");
    }
    if (run.position + run.block->size() > model.context) {
      throw Error(ErrorCode::mismatch, {"Step"}, "position " + std::to_string(run.position + run.block->size() - 1),
                  "at most " + std::to_string(model.context - 1) + ", the model's context");
    }
  }
  for (std::size_t i = 0; i < step.tokens.size(); ++i) {
    const NewToken& token = step.tokens[i];
    if (token.token < 0 || static_cast<std::size_t>(token.token) >= model.vocabulary) {
      throw Error(ErrorCode::mismatch, {"Step, token " + std::to_string(i)}, "id " + std::to_string(token.token),
                  "one below " + std::to_string(model.vocabulary));
    }
    if (token.run >= step.runs.size() || step.runs[token.run].open == nullptr ||
        token.row >= step.runs[token.run].block->size()) {
      throw refused(i, "row " + std::to_string(token.row) + " of run " + std::to_string(token.run),
                    "a row of an open run");
    }
    for (std::size_t run = 0; run < step.runs.size(); ++run) {
      if (step.sees(i, run) > step.runs[run].block->size()) {
        throw refused(i, "sight of " + std::to_string(step.sees(i, run)) + " rows of run " + std::to_string(run),
                      "at most " + std::to_string(step.runs[run].block->size()));
      }
    }
    if (step.sees(i, token.run) <= token.row) {
      throw refused(i, "no sight of itself", "at least that");
    }
  }
  if (step.layers > model.layers || (step.layers > 0 && !wanted.empty())) {
    throw Error(ErrorCode::usage, {"Step"}, "logits behind " + std::to_string(step.layers) + " layers",
                "no logits, and at most the model's " + std::to_string(model.layers));
  }
  for (const std::size_t token : wanted) {
    if (token >= step.tokens.size()) throw refused(token, "logits of a token that is not there", "one that is");
  }
}

}  // namespace promptcache::reuse
