#pragma once

#include <memory>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/embed/transformer_pair_scorer.hpp"
#include "promptcache/pairs/similarity.hpp"

namespace tool {

/// What a model says of pairs: the cosine of an encoder, the logit of a pair scorer. The directory tells which it is.
class ModelScores {
 public:
  ModelScores(const std::string& model_directory, const promptcache::EmbedderOptions& options);

  promptcache::PairSimilarities operator()(const std::vector<promptcache::Pair>& pairs,
                                           const promptcache::ProgressCallback& progress) const;

  promptcache::Precision precision() const;  ///< never automatic
  promptcache::Digest identity() const;      ///< the model's own
  bool reads_pairs() const { return scorer_ != nullptr; }

 private:
  std::size_t threads_;
  std::shared_ptr<const promptcache::TransformerEmbedder> embedder_;  // one of the two
  std::shared_ptr<const promptcache::TransformerPairScorer> scorer_;
};

}  // namespace tool
