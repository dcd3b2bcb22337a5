#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

#include "promptcache/cache/invalidation.hpp"

namespace promptcache::cache {

/// An invalidation in terms of stored entries.
struct EntryFilter {
  Invalidation which;
  std::optional<Digest> scope;  // as stored

  bool covers(const Entry& entry) const;
};

/// The latest invalidations in order, so that a response computed while one was made is not stored. Thread-safe.
class InvalidationLog {
 public:
  /// How many were made so far.
  std::uint64_t count() const { return count_; }

  void add(EntryFilter filter) {
    constexpr std::size_t kept = 1000;
    const std::lock_guard lock(mutex_);
    ++count_;
    filters_.push_back(std::move(filter));
    if (filters_.size() > kept) filters_.pop_front();
  }

  /// Whether one made after the first `seen` covers the entry; also when they are too many to tell.
  bool covered_since(std::uint64_t seen, const Entry& entry) const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t first = count_ - filters_.size();
    if (seen < first) return true;
    for (std::size_t i = static_cast<std::size_t>(seen - first); i < filters_.size(); ++i) {
      if (filters_[i].covers(entry)) return true;
    }
    return false;
  }

 private:
  mutable std::mutex mutex_;
  std::deque<EntryFilter> filters_;
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace promptcache::cache
