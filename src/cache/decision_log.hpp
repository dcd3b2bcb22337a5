#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "promptcache/policy/cache_policy.hpp"

namespace promptcache::cache {

/// The hits among the last `capacity` lookups, for feedback, and which decisions were judged. Thread-safe.
class DecisionLog {
 public:
  struct Record {
    std::uint64_t cache = 0;  ///< instance
    DecisionId id = 0;
    Evidence evidence;
    bool by_similarity = false;  ///< the policy decided, so it is told
    Digest request, candidate;   ///< keys
  };

  explicit DecisionLog(std::size_t capacity) : capacity_(capacity) {}

  /// Gives out the next id.
  DecisionId next() { return ++last_; }

  void keep(const Record& record) {
    if (capacity_ == 0 || record.id + capacity_ <= last_) return;
    std::call_once(made_, [&] { records_.resize(capacity_); });
    const std::lock_guard lock(record_mutexes_[record.id % capacity_ % locks]);
    Record& place = records_[record.id % capacity_];
    if (place.id < record.id) place = record;
  }

  std::optional<Record> find(DecisionId id) const {
    if (id == 0 || id > last_ || id + capacity_ <= last_) return std::nullopt;
    std::call_once(made_, [&] { records_.resize(capacity_); });
    const std::lock_guard lock(record_mutexes_[id % capacity_ % locks]);
    const Record& place = records_[id % capacity_];
    return place.id == id ? std::optional(place) : std::nullopt;
  }

  /// True the first time for a decision; the oldest are forgotten.
  bool judge_once(std::uint64_t cache, DecisionId id) {
    const std::lock_guard lock(mutex_);
    if (!judged_.emplace(cache, id).second) return false;
    judged_by_age_.emplace_back(cache, id);
    if (judged_by_age_.size() > capacity_ + 1) {
      judged_.erase(judged_by_age_.front());
      judged_by_age_.pop_front();
    }
    return true;
  }

 private:
  static constexpr std::size_t locks = 16;

  std::size_t capacity_;
  mutable std::once_flag made_;
  mutable std::array<std::mutex, locks> record_mutexes_;  // of the records in the places of this remainder
  mutable std::mutex mutex_;                              // of what was judged
  std::atomic<DecisionId> last_{0};
  mutable std::vector<Record> records_;  // each id in the place of its remainder, made with the first hit
  std::set<std::pair<std::uint64_t, DecisionId>> judged_;
  std::deque<std::pair<std::uint64_t, DecisionId>> judged_by_age_;
};

}  // namespace promptcache::cache
