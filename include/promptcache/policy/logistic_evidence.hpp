#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "promptcache/policy/evidence_model.hpp"
#include "promptcache/policy/guards.hpp"

namespace promptcache {

/// What a `LogisticEvidence` sees.
enum class EvidenceFeature : std::uint8_t {
  similarity,   ///< cosine
  closeness,    ///< -log(1 - cosine), bounded: tells near-duplicates apart, where the cosine hardly moves
  gap,          ///< by how much the second-best candidate is less similar, at most 0.2
  agreement,    ///< share of the next candidates with the same response
  length,       ///< |log| of the ratio of the prompts' lengths in bytes, one added to each, at most 2
  shortness,    ///< -log2 of the shorter prompt's bytes
  pair_logit,   ///< of the pair scorer, cut to [-12, 12]
  first_guard,  ///< behind it one each for kind and strength of a guard's finding, as in `GuardFlags`: 1 when found
};

inline constexpr std::size_t plain_feature_count = static_cast<std::size_t>(EvidenceFeature::first_guard);
inline constexpr std::size_t evidence_feature_count = plain_feature_count + 2 * guard_kind_count;

/// Name of a feature as it appears in files, for example "similarity" or "number.replaced".
std::string evidence_feature_name(std::size_t feature);

/// Values of the features; empty where the evidence does not tell.
std::array<std::optional<double>, evidence_feature_count> evidence_features(const Evidence& evidence);

/// One logistic regression: log-odds = intercept + sum of weight * (value - center), a missing value being its center.
struct EvidenceWeights {
  double intercept = 0;
  std::array<double, evidence_feature_count> weight{};
  std::array<double, evidence_feature_count> center{};
};

/// Similarity, neighbours, lengths, guards' findings and a pair scorer's logit to one probability. Two regressions: one
/// for evidence without a pair's logit, one with it.
class LogisticEvidence : public EvidenceModel {
 public:
  /// `least_similarity`: below it a pair's logit is not asked for. Throws `Error(usage)` for weights that are not
  /// finite, or a first stage that weighs the pair's logit.
  explicit LogisticEvidence(const EvidenceWeights& first, const std::optional<EvidenceWeights>& second = {},
                            double least_similarity = -1);

  /// Read back from `parameters()`. Throws `Error(format)` naming `where`.
  static LogisticEvidence parse(std::string_view parameters, const std::string& where);

  double probability(const Evidence& evidence) const override;
  bool wants_pair_logit(const Evidence& evidence) const override;
  bool wants_guards() const override;
  std::string parameters() const override;

  bool reads_pairs() const noexcept { return second_.has_value(); }
  const EvidenceWeights& first() const noexcept { return first_; }
  const std::optional<EvidenceWeights>& second() const noexcept { return second_; }
  double least_similarity() const noexcept { return least_similarity_; }

 private:
  EvidenceWeights first_;
  std::optional<EvidenceWeights> second_;
  double least_similarity_;
};

}  // namespace promptcache
