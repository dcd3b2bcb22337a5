#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <unordered_set>
#include <vector>

namespace promptcache {

/// Uniform in [0, bound) by rejection; std::uniform_int_distribution differs between standard libraries.
inline std::uint64_t draw(std::mt19937_64& random, std::uint64_t bound) {
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t value = random();
  while (value >= limit) value = random();
  return value % bound;
}

/// `count` distinct numbers below `bound`, each set of them as likely as any other, ascending (Floyd's algorithm:
/// memory and time do not depend on `bound`).
inline std::vector<std::uint64_t> draw_distinct(std::mt19937_64& random, std::size_t count, std::uint64_t bound) {
  std::unordered_set<std::uint64_t> taken;
  taken.reserve(count);
  for (std::uint64_t last = bound - count; last < bound; ++last) {
    const std::uint64_t number = draw(random, last + 1);
    taken.insert(taken.count(number) == 0 ? number : last);
  }
  std::vector<std::uint64_t> numbers(taken.begin(), taken.end());
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace promptcache
