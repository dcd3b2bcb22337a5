#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "promptcache/pairs/neighbours.hpp"

namespace promptcache {

/// A uniform sample of the pairs of a band, or of each stratum of it, of a size known only at the end. A pair's number,
/// drawn from the seed and its positions, decides; the smallest stay. So the sample depends neither on the order of the
/// pairs nor on the threads they come from. Thread-safe.
class PairSample {
 public:
  explicit PairSample(const BandOptions& band);

  bool in_band(float similarity) const noexcept { return similarity >= low_ && similarity <= high_; }

  /// Takes pairs of the band.
  void offer(const std::vector<PromptPair>& pairs);

  /// What is left, in order of positions.
  BandPairs take();

 private:
  struct Entry {
    std::uint64_t number;
    PromptPair pair;
  };
  struct Stratum {
    std::vector<Entry> entries;
    std::uint64_t highest = UINT64_MAX;  // numbers above are out
  };
  std::size_t stratum_of(float similarity) const noexcept;
  void trim(Stratum& stratum) const;

  BandOptions band_;
  float low_, high_;
  std::size_t share_;  // of each stratum
  std::mutex mutex_;   // of all that follows
  std::uint64_t offered_ = 0;
  std::vector<Stratum> strata_;
};

}  // namespace promptcache
