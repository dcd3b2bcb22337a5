#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "promptcache/store/entry.hpp"

namespace promptcache {

/// Keeps entries by id and by key, and bounds their number. Safe from many threads. Belongs to one cache.
class EntryStore {
 public:
  using EntryPointer = std::shared_ptr<const Entry>;

  virtual ~EntryStore() = default;

  struct PutResult {
    EntryId id = 0;                     ///< of the new entry; never given twice
    std::vector<EntryPointer> removed;  ///< what had its key before, and what was evicted to make room
  };

  /// Stores an entry, replacing the one with the same key. What this call has returned for is in the store.
  virtual PutResult put(Entry entry) = 0;

  virtual EntryPointer get(EntryId id) const = 0;          ///< null when there is none
  virtual EntryPointer find(const Digest& key) const = 0;  ///< null when there is none

  /// Notes that an entry was served, for the choice of what to evict.
  virtual void touch(EntryId id) = 0;

  /// Removes an entry and returns it; null when there was none.
  virtual EntryPointer erase(EntryId id) = 0;

  virtual std::size_t size() const = 0;

  /// Visits all entries that are there from beginning to end of the call, in no particular order.
  virtual void for_each(const std::function<void(const EntryPointer&)>& visit) const = 0;
};

}  // namespace promptcache
