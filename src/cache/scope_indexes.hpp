#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>  // shared_lock
#include <unordered_map>

#include "promptcache/base/fair_shared_mutex.hpp"
#include "promptcache/cache/cache.hpp"

namespace promptcache::cache {

/// The index of each scope that has entries with vectors. Thread-safe; the lock is not held during searches.
class ScopeIndexes {
 public:
  using IndexPointer = std::shared_ptr<SimilarityIndex>;

  ScopeIndexes(IndexFactory make, std::size_t dimension) : make_(std::move(make)), dimension_(dimension) {}

  /// Null when the scope has none.
  IndexPointer find(const Digest& scope) const {
    const std::shared_lock lock(mutex_);
    const auto found = indexes_.find(scope);
    return found == indexes_.end() ? nullptr : found->second;
  }

  IndexPointer find_or_make(const Digest& scope) {
    if (IndexPointer index = find(scope)) return index;
    const std::unique_lock lock(mutex_);
    IndexPointer& index = indexes_[scope];
    if (!index) index = make_(dimension_);
    return index;
  }

  void remove(const Digest& scope, EntryId id) {
    const IndexPointer index = find(scope);
    if (!index || !index->remove(id) || index->size() > 0) return;
    const std::unique_lock lock(mutex_);
    const auto found = indexes_.find(scope);
    // Held by the map and by us: nobody is about to add to it.
    if (found != indexes_.end() && found->second == index && index.use_count() == 2 && index->size() == 0) {
      indexes_.erase(found);
    }
  }

  std::size_t size() const {
    const std::shared_lock lock(mutex_);
    return indexes_.size();
  }

 private:
  IndexFactory make_;
  std::size_t dimension_;
  mutable FairSharedMutex mutex_;
  std::unordered_map<Digest, IndexPointer> indexes_;
};

}  // namespace promptcache::cache
