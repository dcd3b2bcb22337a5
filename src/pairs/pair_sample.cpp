#include "pairs/pair_sample.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

/// The finalizer of splitmix64: every bit of the result depends on every bit of `x`.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

std::uint64_t number_of(const PromptPair& pair, std::uint64_t seed) {
  const std::uint64_t positions = (static_cast<std::uint64_t>(pair.first) << 32) | pair.second;
  return mixed(mixed(positions + 0x9E3779B97F4A7C15ULL) ^ mixed(seed));
}

}  // namespace

PairSample::PairSample(const BandOptions& band) : band_(band) {
  if (!(band.low <= band.high && std::isfinite(band.low) && std::isfinite(band.high))) {
    throw Error(ErrorCode::usage, {"band"}, std::to_string(band.low) + " to " + std::to_string(band.high),
                "two finite similarities, the lower one first");
  }
  if (band.strata == 0 || band.max_pairs < band.strata) {
    throw Error(ErrorCode::usage, {"band"},
                std::to_string(band.max_pairs) + " pairs at most in " + std::to_string(band.strata) + " strata",
                "at least one stratum and one pair for each");
  }
  // Rounding takes the similarity of like vectors a little beyond 1: that belongs to a band which ends there.
  low_ = band.low <= -1 ? std::numeric_limits<float>::lowest() : static_cast<float>(band.low);
  high_ = band.high >= 1 ? std::numeric_limits<float>::max() : static_cast<float>(band.high);
  share_ = band.max_pairs / band.strata;
  strata_.resize(band.strata);
}

std::size_t PairSample::stratum_of(float similarity) const noexcept {
  const double width = band_.high - band_.low;
  if (!(width > 0)) return 0;
  const double place = (static_cast<double>(similarity) - band_.low) / width * static_cast<double>(strata_.size());
  return static_cast<std::size_t>(std::clamp(place, 0.0, static_cast<double>(strata_.size() - 1)));
}

void PairSample::trim(Stratum& stratum) const {
  if (stratum.entries.size() <= share_) return;
  const auto last = stratum.entries.begin() + static_cast<std::ptrdiff_t>(share_ - 1);
  std::nth_element(stratum.entries.begin(), last, stratum.entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.number, a.pair.first, a.pair.second) < std::tie(b.number, b.pair.first, b.pair.second);
  });
  stratum.highest = last->number;
  stratum.entries.resize(share_);
}

void PairSample::offer(const std::vector<PromptPair>& pairs) {
  const std::lock_guard lock(mutex_);
  offered_ += pairs.size();
  for (const PromptPair& pair : pairs) {
    Stratum& stratum = strata_[stratum_of(pair.similarity)];
    const std::uint64_t number = number_of(pair, band_.seed);
    if (number > stratum.highest) continue;
    stratum.entries.push_back({number, pair});
    if (stratum.entries.size() >= 2 * share_ + 64) trim(stratum);
  }
}

BandPairs PairSample::take() {
  const std::lock_guard lock(mutex_);
  BandPairs result;
  result.in_band = offered_;
  for (Stratum& stratum : strata_) {
    trim(stratum);
    for (const Entry& entry : stratum.entries) result.pairs.push_back(entry.pair);
    stratum = {};
  }
  std::sort(result.pairs.begin(), result.pairs.end(), [](const PromptPair& a, const PromptPair& b) {
    return std::tie(a.first, a.second) < std::tie(b.first, b.second);
  });
  for (PromptPair& pair : result.pairs) pair.similarity = std::clamp(pair.similarity, -1.0F, 1.0F);
  return result;
}

}  // namespace promptcache
