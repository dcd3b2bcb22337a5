#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/embed/transformer_pair_scorer.hpp"
#include "promptcache/pairs/similarity.hpp"
#include "promptcache/policy/guards.hpp"
#include "promptcache/policy/logistic_evidence.hpp"

namespace tool {

/// What a model says of pairs: the cosine of an encoder, the logit of a pair scorer, or the log-odds of a cascade of
/// the two. A directory tells what it holds; a cascade is one that pc-calibrate fitted, in the encoder's
/// promptcache.json.
class ModelScores {
 public:
  /// `scorer_directory` makes a cascade; otherwise it is empty.
  ModelScores(const std::string& model_directory, const promptcache::EmbedderOptions& options,
              const std::string& scorer_directory = "");

  promptcache::PairSimilarities operator()(const promptcache::PairFile& file,
                                           const promptcache::ProgressCallback& progress) const;

  promptcache::Precision precision() const;  ///< never automatic
  promptcache::Digest identity() const;      ///< the encoder's, or that of a pair scorer that stands alone

 private:
  std::size_t threads_;
  std::shared_ptr<const promptcache::TransformerEmbedder> embedder_;
  std::shared_ptr<const promptcache::TransformerPairScorer> scorer_;
  std::shared_ptr<const promptcache::Guards> guards_;
  std::optional<promptcache::LogisticEvidence> cascade_;
};

/// A pair scorer's logits; each stretch of texts longer than the window counts as truncated.
promptcache::PairSimilarities pair_logits(const promptcache::TransformerPairScorer& scorer,
                                          const std::vector<promptcache::Pair>& pairs, std::size_t threads,
                                          const promptcache::ProgressCallback& progress);

}  // namespace tool
