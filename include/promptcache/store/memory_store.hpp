#pragma once

#include <cstddef>
#include <memory>

#include "promptcache/store/entry_store.hpp"
#include "promptcache/store/eviction_policy.hpp"

namespace promptcache {

/// Bounds on what a store keeps; 0: none.
struct StoreLimits {
  std::size_t max_entries = 100'000;
  std::size_t max_bytes = 0;
  std::size_t max_scope_entries = 0;  ///< of each scope
  std::size_t max_scope_bytes = 0;
  std::size_t max_wrong_pairs = 100'000;                ///< remembered wrong hits; the oldest is forgotten
  std::shared_ptr<const EvictionPolicy> eviction = {};  ///< default: `LeastRecentlyUsed`
};

struct MemoryStoreOptions {
  StoreLimits limits = {};
  /// Keeps a second copy of each vector, so that another cache can be made on this store later and find by meaning what
  /// an earlier one has stored. 4 bytes a dimension.
  bool keep_vectors = false;
};

/// Entries in memory, lost with the process. Beyond a bound the entry of lowest priority goes: of the scope whose bound
/// it is, or of all. Every call costs O(log n), `for_each` O(n).
class MemoryStore : public EntryStore {
 public:
  explicit MemoryStore(MemoryStoreOptions options = {});
  ~MemoryStore() override;

  PutResult put(Entry entry) override;
  EntryPointer get(EntryId id) const override;
  EntryPointer find(const Digest& key) const override;
  void touch(EntryId id) override;
  void extend(EntryId id, Entry::TimePoint expires) override;
  std::vector<EntryPointer> erase(const std::vector<EntryId>& ids) override;
  std::vector<EntryPointer> erase_expired(Entry::TimePoint now, std::size_t limit) override;
  std::size_t size() const override;
  std::size_t bytes() const override;
  void for_each(const std::function<void(const EntryPointer&)>& visit) const override;
  void add_wrong_pair(const Digest& request, const Digest& entry) override;
  bool is_wrong_pair(const Digest& request, const Digest& entry) const override;
  std::uint64_t instance() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
