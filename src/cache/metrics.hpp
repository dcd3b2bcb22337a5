#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "promptcache/cache/stats.hpp"

namespace promptcache::cache {

/// A part of the threads counts here: each has a cache line of its own.
constexpr std::size_t metric_parts = 8;
std::size_t metric_part() noexcept;  ///< of this thread

/// A count that many threads raise at once without waiting for each other.
class Counter {
 public:
  Counter& operator+=(std::uint64_t more) {
    parts_[metric_part()].value.fetch_add(more, std::memory_order_relaxed);
    return *this;
  }
  Counter& operator++() { return *this += 1; }
  Counter& operator--() { return *this += ~std::uint64_t{0}; }
  operator std::uint64_t() const {  // NOLINT(google-explicit-constructor): a number
    std::uint64_t sum = 0;
    for (const Part& part : parts_) sum += part.value.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  struct alignas(64) Part {
    std::atomic<std::uint64_t> value{0};
  };
  std::array<Part, metric_parts> parts_;
};

/// A histogram that many threads fill.
class SharedHistogram {
 public:
  void add(std::chrono::nanoseconds time);
  Histogram read() const;

 private:
  struct alignas(64) Part {
    std::array<std::atomic<std::uint64_t>, Histogram::bounds.size() + 1> counts{};
    std::atomic<std::uint64_t> nanoseconds{0};
  };
  std::array<Part, metric_parts> parts_;
};

/// What a cache counts while it works.
struct Metrics {
  Counter lookups, exact_hits, semantic_hits, coalesced, inserts, evictions, expirations, invalidations, dropped,
      failures, timeouts, rejections, wrong_hits, pair_scores, pair_scores_skipped;
  std::array<Counter, reason_count> misses;
  SharedHistogram lookup, exact, embed, search, score, decide, insert;

  void count_miss(Reason reason) { ++misses[static_cast<std::size_t>(reason)]; }
  void time(const Timings& timings);
  CacheStats read() const;
};

}  // namespace promptcache::cache
