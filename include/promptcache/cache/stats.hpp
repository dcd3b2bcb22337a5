#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// How often something took how long.
struct Histogram {
  /// Upper bounds of the classes but the last, in seconds.
  static constexpr std::array<double, 16> bounds = {1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4,
                                                    5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 0.1,  1,    10};
  std::array<std::uint64_t, bounds.size() + 1> counts{};
  double seconds = 0;  ///< in all

  std::uint64_t count() const noexcept {
    std::uint64_t sum = 0;
    for (const std::uint64_t each : counts) sum += each;
    return sum;
  }
};

/// Counts since the cache was made.
struct CacheStats {
  std::uint64_t lookups = 0;
  std::uint64_t exact_hits = 0;
  std::uint64_t semantic_hits = 0;
  std::uint64_t coalesced = 0;
  std::uint64_t misses = 0;
  std::array<std::uint64_t, reason_count> misses_by_reason{};  ///< by the number of the `Reason`
  std::uint64_t inserts = 0;
  std::uint64_t evictions = 0;            ///< entries that made room for others
  std::uint64_t expirations = 0;          ///< entries removed because their time was over
  std::uint64_t invalidations = 0;        ///< entries removed by `Cache::invalidate`
  std::uint64_t dropped = 0;              ///< responses not stored: invalidated while they were computed, or too large
  std::uint64_t failures = 0;             ///< of a part; each made a miss, an entry not stored or a pair not scored
  std::uint64_t timeouts = 0;             ///< lookups and inserts that did not end in time
  std::uint64_t rejections = 0;           ///< of them, not begun because too many hang
  std::uint64_t wrong_hits = 0;           ///< reported ones
  std::uint64_t pair_scores = 0;          ///< pairs that the pair scorer was asked about
  std::uint64_t pair_scores_skipped = 0;  ///< pairs that it was not asked about because time was short
  std::size_t stuck = 0;                  ///< calls that hang now
  std::size_t entries = 0;                ///< stored now
  std::size_t bytes = 0;                  ///< accounted now
  std::size_t scopes = 0;                 ///< with an index now
  std::size_t to_re_embed = 0;            ///< entries of another embedder that still wait for their vector

  Histogram lookup;  ///< whole lookups, without the wait for another's computation
  Histogram exact, embed, search, score, decide, insert;
};

/// In Prometheus' text format, names beginning with "promptcache_". `labels` is put into every braces, for example
/// `cache="answers"`; values must be escaped already.
std::string to_prometheus(const CacheStats& stats, const std::string& labels = "");

}  // namespace promptcache
