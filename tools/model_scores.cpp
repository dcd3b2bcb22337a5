#include "model_scores.hpp"

#include <unordered_set>

#include "promptcache/embed/bulk.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/pair_head.hpp"

namespace tool {

ModelScores::ModelScores(const std::string& model_directory, const promptcache::EmbedderOptions& options)
    : threads_(options.parallel_callers) {
  if (promptcache::is_sequence_classifier(promptcache::ModelDirectory::open(model_directory))) {
    scorer_ = promptcache::TransformerPairScorer::open(model_directory, options);
  } else {
    embedder_ = promptcache::TransformerEmbedder::open(model_directory, options);
  }
}

promptcache::Precision ModelScores::precision() const {
  return scorer_ ? scorer_->precision() : embedder_->precision();
}

promptcache::Digest ModelScores::identity() const { return scorer_ ? scorer_->identity() : embedder_->identity(); }

promptcache::PairSimilarities ModelScores::operator()(const std::vector<promptcache::Pair>& pairs,
                                                      const promptcache::ProgressCallback& progress) const {
  if (embedder_) return pair_similarities(*embedder_, pairs, threads_, progress);
  std::vector<promptcache::TextPair> texts;
  std::unordered_set<std::string_view> distinct;
  for (const promptcache::Pair& pair : pairs) {
    texts.push_back({pair.q1, pair.q2});
    distinct.insert(pair.q1);
    distinct.insert(pair.q2);
  }
  std::vector<float> logits(pairs.size());
  promptcache::PairSimilarities result;
  result.truncated_texts = score_all(*scorer_, texts, threads_, logits, progress).truncated;
  result.distinct_texts = distinct.size();
  result.values.assign(logits.begin(), logits.end());
  return result;
}

}  // namespace tool
