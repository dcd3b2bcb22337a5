#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/random.hpp"

namespace promptcache {

/// A stream of random numbers that is fixed by seed and number, so that resamples can be drawn in any order.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::uint64_t number) : state_(base::scattered(seed ^ base::scattered(number))) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15U;
    return base::scattered(state_);
  }
  /// In [0, bound), for bounds far below 2^32: the bias is below bound / 2^32.
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(((next() >> 32) * bound) >> 32); }
  double uniform() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }  // inside (0, 1)
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }

 private:
  std::uint64_t state_;
};

/// Cluster numbers as 0, 1, ... without gaps, in order of appearance.
inline std::vector<std::uint32_t> dense_numbers(std::span<const std::size_t> clusters, std::size_t& count) {
  std::unordered_map<std::size_t, std::uint32_t> numbers;
  std::vector<std::uint32_t> result;
  result.reserve(clusters.size());
  for (const std::size_t cluster : clusters) {
    result.push_back(numbers.try_emplace(cluster, static_cast<std::uint32_t>(numbers.size())).first->second);
  }
  count = numbers.size();
  return result;
}

/// The values at these positions.
template <class Values>
std::vector<typename Values::value_type> picked(const Values& values, const std::vector<std::size_t>& positions) {
  std::vector<typename Values::value_type> result;
  result.reserve(positions.size());
  for (const std::size_t position : positions) result.push_back(values[position]);
  return result;
}

/// Labels as classes, 1 from a half up.
inline std::vector<std::uint8_t> positives(const std::vector<double>& labels) {
  std::vector<std::uint8_t> result;
  result.reserve(labels.size());
  for (const double label : labels) result.push_back(label >= 0.5 ? 1 : 0);
  return result;
}

/// How often each cluster is drawn in resample `number`.
inline void draw_clusters(std::uint64_t seed, std::size_t number, std::vector<std::uint32_t>& times) {
  RandomStream random(seed, number);
  const auto count = static_cast<std::uint32_t>(times.size());
  std::fill(times.begin(), times.end(), 0);
  for (std::uint32_t i = 0; i < count; ++i) ++times[random.below(count)];
}

/// Calls `work(number, scratch)` for each number below `count` on `threads` threads; each has a scratch of its own,
/// made by `make_scratch()`. `work` must not throw.
template <class MakeScratch, class Work>
void for_each_resample(std::size_t count, std::size_t threads, const MakeScratch& make_scratch, const Work& work) {
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    auto scratch = make_scratch();
    for (std::size_t number = next++; number < count; number = next++) work(number, scratch);
  };
  std::vector<std::jthread> helpers;
  for (std::size_t i = 1; i < std::min(threads, count); ++i) helpers.emplace_back(run);
  run();
}

/// Quantile with linear interpolation between the order statistics of ascending values, which are not empty.
inline double quantile(const std::vector<double>& ascending, double share) {
  const double place = share * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= ascending.size()) return ascending.back();
  return ascending[below] + (place - static_cast<double>(below)) * (ascending[below + 1] - ascending[below]);
}

}  // namespace promptcache
