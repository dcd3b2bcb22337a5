#pragma once

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace promptcache::eval {

/// A generator for each of many numbered streams under one seed (SplitMix64 parts them).
inline std::mt19937_64 generator(std::uint64_t seed, std::uint64_t stream) {
  std::uint64_t x = seed + 0x9e3779b97f4a7c15U * (stream + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return std::mt19937_64(x ^ (x >> 31));
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

template <class T>
void shuffle(std::vector<T>& values, std::mt19937_64& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[uniform_below(random, i)]);
}

}  // namespace promptcache::eval
