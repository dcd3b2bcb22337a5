#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "promptcache/eval/fit_evidence.hpp"
#include "promptcache/eval/hit_bound.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace promptcache {

/// The evidence that a cache would have of pairs, q1 asked and q2 cached. `logits` may be empty: no pair scorer.
/// `guards` may be null. The optional columns `next_similarity` and `agreement` tell of other candidates. Throws
/// `Error`: usage for other numbers of similarities or logits than of pairs, format for a cell of these columns that is
/// no number in range.
std::vector<Evidence> evidence_of_pairs(const PairFile& file, std::span<const double> similarities,
                                        std::span<const double> logits, const Guards* guards);

/// The model's log-odds of each piece of evidence; those that `guards` would veto get -40.
std::vector<double> cascade_scores(const LogisticEvidence& model, std::span<const Evidence> evidence,
                                   const Guards* guards);

/// What calibration pairs say of a cascade: the model from one half of the clusters, thresholds of both stages tested
/// on the other, so that the two use disjoint pairs.
struct CascadeCalibration {
  std::size_t pairs = 0, clusters = 0, fit_pairs = 0;
  LogisticEvidence model{EvidenceWeights()};
  ThresholdChoice first, second;  ///< of probabilities; without pair logits `second` is empty
};

/// Throws what `fit_evidence` throws, and `Error(usage)` for other numbers of clusters or options out of range.
CascadeCalibration calibrate_cascade(std::span<const Evidence> evidence, std::span<const double> labels,
                                     std::span<const std::size_t> clusters, const Guards* guards,
                                     const HitBoundOptions& options = {}, std::uint64_t seed = 1);

/// What `write_cascade` keeps in promptcache.json.
struct CascadeRecord {
  CascadeCalibration calibration;
  bool deployed = false;  ///< the pairs are drawn as they will be served; else no threshold is written
  HitBoundOptions options;
  std::string file_sha256;                ///< of the calibration file
  std::string embedder;                   ///< hexadecimal identity
  std::string scorer;                     ///< the same of the pair scorer; empty: none
  GuardAction guards = GuardAction::off;  ///< what the guards' findings led to: flag, veto (by their defaults) or off
};

/// Writes `cascade` into DIRECTORY/promptcache.json, atomically, keeping all other fields. Throws what
/// `write_calibration` throws.
void write_cascade(const std::string& model_directory, const CascadeRecord& record);

}  // namespace promptcache
