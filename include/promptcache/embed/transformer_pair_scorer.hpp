#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "promptcache/embed/pair_scorer.hpp"
#include "promptcache/embed/transformer_embedder.hpp"

namespace promptcache {

/// A cross-encoder: a Hugging Face directory of BERT or XLM-RoBERTa for sequence classification with one output (the
/// layout of sentence-transformers' CrossEncoder, and of `pc-train --kind pair`), on the engine of
/// `TransformerEmbedder`. Reads [CLS] a [SEP] b [SEP], the smaller of the two texts, byte by byte, first.
///
///     auto scorer = TransformerPairScorer::open("models/pair");
///     float logit = scorer->score_one("enable 2FA", "disable 2FA");
class TransformerPairScorer : public PairScorer {
 public:
  /// As `TransformerEmbedder::open`; with `Precision::automatic` the probabilities of a few pairs in int8 must lie
  /// within 0.05 of those in f32. `prompt_name` must be empty. Throws what it throws, and `Error(unsupported)` for a
  /// directory that is no such classifier.
  static std::shared_ptr<const TransformerPairScorer> open(const std::string& directory,
                                                           const EmbedderOptions& options = {});
  ~TransformerPairScorer() override;

  Digest identity() const override;
  PairReport score(std::span<const TextPair> pairs, std::span<float> logits) const override;

  /// The logit of a pair as it stands, not put in order: what a CrossEncoder gives.
  float score_in_order(std::string_view first, std::string_view second) const;

  Precision precision() const;     ///< never automatic
  std::size_t max_tokens() const;  ///< longest input in tokens, of both texts together

 private:
  struct Impl;
  explicit TransformerPairScorer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
