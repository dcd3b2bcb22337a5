#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "promptcache/eval/hit_bound.hpp"
#include "promptcache/eval/platt.hpp"

namespace promptcache {

/// Deals whole clusters to two sides of about as many pairs each, in an order drawn from `seed`, without regard to
/// scores or labels; positions of the pairs of each side, ascending.
std::array<std::vector<std::size_t>, 2> halves_by_cluster(std::span<const std::size_t> clusters, std::uint64_t seed);

/// What calibration pairs say: lambda and c from one half of the clusters, thresholds tested on the other, so that the
/// two use disjoint pairs.
struct CalibrationResult {
  std::size_t pairs = 0;
  std::size_t clusters = 0;
  std::size_t fit_pairs = 0;        ///< pairs of the half that lambda and c come from
  std::optional<Calibration> head;  ///< empty where nothing can be fitted: one class, or an AUC not surely above 1/2
  std::string no_head;              ///< why
  ThresholdChoice thresholds;       ///< on one pair of each cluster of the other half
};

/// Throws `Error`: usage for unequal lengths, no pairs or options out of range, numeric for values that are not finite
/// or labels outside [0, 1].
CalibrationResult calibrate(std::span<const double> similarities, std::span<const double> labels,
                            std::span<const std::size_t> clusters, const HitBoundOptions& options = {},
                            std::uint64_t seed = 1);

/// What `write_calibration` keeps in promptcache.json beside lambda, c and the threshold.
struct CalibrationRecord {
  Calibration head;
  std::optional<HitBound> threshold;  ///< verified for pairs as deployed; empty: none is written, an older one removed
  HitBoundOptions options;
  bool deployed = false;    ///< the pairs are drawn as they will be served
  std::string file_sha256;  ///< of the calibration file
  std::string precision;    ///< in which the similarities were computed
  std::string embedder;     ///< hexadecimal identity of what computed them
  std::size_t pairs = 0, clusters = 0, fit_pairs = 0, threshold_pairs = 0;
};

/// Writes `lambda`, `c`, `threshold` and `calibration` into DIRECTORY/promptcache.json, atomically, keeping all other
/// fields as they are; makes the file when there is none. Throws `Error`: format for a file that holds no JSON object,
/// access or io when it cannot be written.
void write_calibration(const std::string& model_directory, const CalibrationRecord& record);

}  // namespace promptcache
