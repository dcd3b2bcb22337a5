#pragma once

#include <cstddef>
#include <list>
#include <mutex>
#include <unordered_map>

#include "promptcache/store/entry_store.hpp"

namespace promptcache {

struct MemoryStoreOptions {
  std::size_t max_entries = 100'000;  ///< at least 1
};

/// Entries in memory, lost with the process. Beyond `max_entries` the one that was stored or served longest ago goes.
/// Every call costs O(1).
class MemoryStore : public EntryStore {
 public:
  /// Throws `Error(usage)` for options out of range.
  explicit MemoryStore(const MemoryStoreOptions& options = {});

  PutResult put(Entry entry) override;
  EntryPointer get(EntryId id) const override;
  EntryPointer find(const Digest& key) const override;
  void touch(EntryId id) override;
  EntryPointer erase(EntryId id) override;
  std::size_t size() const override;
  void for_each(const std::function<void(const EntryPointer&)>& visit) const override;

 private:
  using Recency = std::list<EntryPointer>;  // the most recently used first

  EntryPointer take(Recency::iterator place);

  MemoryStoreOptions options_;
  mutable std::mutex mutex_;  // of everything below; held for nanoseconds
  Recency recency_;
  std::unordered_map<EntryId, Recency::iterator> by_id_;
  std::unordered_map<Digest, Recency::iterator> by_key_;
  EntryId next_id_ = 1;
};

}  // namespace promptcache
