#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <unordered_set>
#include <utility>
#include <vector>

namespace promptcache::base {

/// SplitMix64's step: a bijection that scatters neighbouring numbers.
inline std::uint64_t scattered(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// A generator for each of many numbered streams under one seed.
inline std::mt19937_64 generator(std::uint64_t seed, std::uint64_t stream) {
  return std::mt19937_64(scattered(seed + 0x9e3779b97f4a7c15U * stream));
}

/// Uniform in [0, bound) by rejection; std::uniform_int_distribution differs between standard libraries.
inline std::uint64_t uniform_below(std::mt19937_64& random, std::uint64_t bound) {
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t value = random();
  while (value >= limit) value = random();
  return value % bound;
}

/// Uniform in [0, 1).
inline double uniform_share(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

/// Standard normal, the `number`th of `seed` (Box and Muller).
inline double normal(std::uint64_t seed, std::uint64_t number) {
  std::mt19937_64 random = generator(seed, number);
  const double radius = std::sqrt(-2 * std::log1p(-uniform_share(random)));
  return radius * std::cos(6.283185307179586 * uniform_share(random));
}

/// Fisher-Yates over our own draws: std::shuffle may differ between standard libraries.
template <class T>
void shuffle(std::vector<T>& values, std::mt19937_64& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[uniform_below(random, i)]);
}

/// `count` distinct numbers below `bound`, each set of them as likely as any other, ascending (Floyd's algorithm:
/// memory and time do not depend on `bound`).
inline std::vector<std::uint64_t> draw_distinct(std::mt19937_64& random, std::size_t count, std::uint64_t bound) {
  std::unordered_set<std::uint64_t> taken;
  taken.reserve(count);
  for (std::uint64_t last = bound - count; last < bound; ++last) {
    const std::uint64_t number = uniform_below(random, last + 1);
    taken.insert(taken.count(number) == 0 ? number : last);
  }
  std::vector<std::uint64_t> numbers(taken.begin(), taken.end());
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace promptcache::base
