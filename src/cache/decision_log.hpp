#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "promptcache/policy/cache_policy.hpp"

namespace promptcache::cache {

/// The hits among the last `capacity` lookups, for feedback. Thread-safe, O(1).
class DecisionLog {
 public:
  struct Record {
    Evidence evidence;
    bool by_similarity = false;  ///< the policy decided, so it is told
  };

  explicit DecisionLog(std::size_t capacity) : capacity_(capacity) {}

  /// Gives out the next id.
  DecisionId next() {
    const std::lock_guard lock(mutex_);
    const DecisionId id = ++last_;
    if (id > capacity_) records_.erase(id - capacity_);
    return id;
  }

  void keep(DecisionId id, const Record& record) {
    const std::lock_guard lock(mutex_);
    if (capacity_ > 0 && id + capacity_ > last_) records_[id] = record;
  }

  /// A record is taken once.
  std::optional<Record> take(DecisionId id) {
    const std::lock_guard lock(mutex_);
    const auto found = records_.find(id);
    if (found == records_.end()) return std::nullopt;
    const Record record = found->second;
    records_.erase(found);
    return record;
  }

 private:
  std::size_t capacity_;
  std::mutex mutex_;
  DecisionId last_ = 0;
  std::unordered_map<DecisionId, Record> records_;
};

}  // namespace promptcache::cache
