#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "promptcache/store/entry.hpp"

namespace promptcache {

/// Keeps entries by id and by key, and bounds their number and size. Safe from many threads. Belongs to one cache.
class EntryStore {
 public:
  using EntryPointer = std::shared_ptr<const Entry>;

  virtual ~EntryStore() = default;

  struct PutResult {
    EntryId id = 0;                     ///< of the new entry, never given twice; 0: larger than all that may be kept
    std::vector<EntryPointer> removed;  ///< what had its key before, and what was evicted to make room
  };

  /// Stores an entry, replacing the one with the same key. What this call has returned for is in the store.
  virtual PutResult put(Entry entry) = 0;

  virtual EntryPointer get(EntryId id) const = 0;          ///< null when there is none
  virtual EntryPointer find(const Digest& key) const = 0;  ///< null when there is none

  /// Notes that an entry was served, for the choice of what to evict. May let a note fall when threads compete.
  virtual void touch(EntryId id) = 0;

  /// Lets an entry live until a later time. Nothing where it is gone.
  virtual void extend(EntryId id, Entry::TimePoint expires) = 0;

  /// Removes entries and returns those that were there.
  virtual std::vector<EntryPointer> erase(const std::vector<EntryId>& ids) = 0;

  /// Removes up to `limit` entries that are not served any more at `now`, the longest expired first.
  virtual std::vector<EntryPointer> erase_expired(Entry::TimePoint now, std::size_t limit) = 0;

  virtual std::size_t size() const = 0;
  virtual std::size_t bytes() const = 0;  ///< accounted, see `accounted_bytes`

  /// Visits all entries that are there from beginning to end of the call, in no particular order; with or without their
  /// vectors. A visitor may call the store.
  virtual void for_each(const std::function<void(const EntryPointer&)>& visit) const = 0;

  /// The same with the vectors of those entries whose vectors the store keeps.
  virtual void for_each_with_vector(const std::function<void(const EntryPointer&)>& visit) const { for_each(visit); }

  /// Notes for good that the entry with one key was a wrong hit for the request with another.
  virtual void add_wrong_pair(const Digest& request, const Digest& entry) = 0;
  virtual bool is_wrong_pair(const Digest& request, const Digest& entry) const = 0;

  /// A random number that names this store and its ids: the same store opened again has the same.
  virtual std::uint64_t instance() const = 0;
};

}  // namespace promptcache
