#include "model_scores.hpp"

#include <algorithm>
#include <unordered_set>

#include "promptcache/base/error.hpp"
#include "promptcache/embed/bulk.hpp"
#include "promptcache/eval/calibrate_cascade.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/pair_head.hpp"
#include "promptcache/policy/cascade_policy.hpp"

namespace tool {

using promptcache::PairSimilarities;

PairSimilarities pair_logits(const promptcache::TransformerPairScorer& scorer,
                             const std::vector<promptcache::Pair>& pairs, std::size_t threads,
                             const promptcache::ProgressCallback& progress) {
  std::vector<promptcache::TextPair> texts;
  std::unordered_set<std::string_view> distinct;
  for (const promptcache::Pair& pair : pairs) {
    texts.push_back({pair.q1, pair.q2});
    distinct.insert(pair.q1);
    distinct.insert(pair.q2);
  }
  std::vector<float> logits(pairs.size());
  PairSimilarities result;
  result.truncated_texts = score_all(scorer, texts, threads, logits, progress).truncated;
  result.distinct_texts = distinct.size();
  result.values.assign(logits.begin(), logits.end());
  return result;
}

ModelScores::ModelScores(const std::string& model_directory, const promptcache::EmbedderOptions& options,
                         const std::string& scorer_directory)
    : threads_(options.parallel_callers) {
  if (promptcache::is_sequence_classifier(promptcache::ModelDirectory::open(model_directory))) {
    if (!scorer_directory.empty()) {
      throw promptcache::Error(promptcache::ErrorCode::usage, {model_directory}, "a pair scorer",
                               "an encoder: a cascade is an encoder and a pair scorer");
    }
    scorer_ = promptcache::TransformerPairScorer::open(model_directory, options);
    return;
  }
  embedder_ = promptcache::TransformerEmbedder::open(model_directory, options);
  if (scorer_directory.empty()) return;
  scorer_ = promptcache::TransformerPairScorer::open(scorer_directory, options);
  const auto policy =
      promptcache::CascadePolicy::open(model_directory, *embedder_, scorer_.get(), {.wrong_hit_cost = 1});
  cascade_ = promptcache::LogisticEvidence::parse(policy->model().parameters(), model_directory);
  guards_ = policy->guards();
}

promptcache::Precision ModelScores::precision() const {
  return embedder_ ? embedder_->precision() : scorer_->precision();
}

promptcache::Digest ModelScores::identity() const { return embedder_ ? embedder_->identity() : scorer_->identity(); }

PairSimilarities ModelScores::operator()(const promptcache::PairFile& file,
                                         const promptcache::ProgressCallback& progress) const {
  if (!embedder_) return pair_logits(*scorer_, file.pairs, threads_, progress);
  PairSimilarities similarities = pair_similarities(*embedder_, file.pairs, threads_, progress);
  if (!cascade_) return similarities;
  const PairSimilarities logits = pair_logits(*scorer_, file.pairs, threads_, progress);
  similarities.values = promptcache::cascade_scores(
      *cascade_, promptcache::evidence_of_pairs(file, similarities.values, logits.values, guards_.get()),
      guards_.get());
  similarities.truncated_texts = std::max(similarities.truncated_texts, logits.truncated_texts);
  return similarities;
}

}  // namespace tool
