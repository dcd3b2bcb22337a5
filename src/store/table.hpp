#pragma once

#include <deque>
#include <mutex>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/brief_mutex.hpp"
#include "promptcache/store/memory_store.hpp"

namespace promptcache::store {

/// A name for a store, random enough that no two are the same.
std::uint64_t random_instance();

/// Entries in memory by id, key, priority and expiry: what all stores answer from. Thread-safe; its lock is held for
/// about a microsecond.
class Table {
 public:
  using EntryPointer = EntryStore::EntryPointer;
  using Entries = std::vector<EntryPointer>;
  using WrongPair = std::pair<Digest, Digest>;  // keys of request and entry

  Table(StoreLimits limits, bool keep_vectors);

  /// Whether the entry fits into the bounds at all.
  bool fits(const Entry& entry) const;

  /// Takes an entry with its id set. Returns what had its key before and what made room.
  Entries put(Entry entry);

  EntryPointer get(EntryId id) const;
  EntryPointer find(const Digest& key) const;
  void touch(EntryId id);
  void extend(EntryId id, Entry::TimePoint expires);
  Entries erase(const std::vector<EntryId>& ids);
  Entries erase_expired(Entry::TimePoint now, std::size_t limit);
  std::size_t size() const;
  std::size_t bytes() const;
  Entries all() const;

  /// The pairs that were forgotten for it.
  std::vector<WrongPair> add_wrong_pair(const WrongPair& pair);
  bool is_wrong_pair(const WrongPair& pair) const;

 private:
  using Order = std::set<std::pair<double, EntryId>>;  // by priority, lowest first

  struct Slot {
    EntryPointer entry;
    EntryUse use;
    Order::iterator place;
    double priority = 0;
  };
  struct ScopeUse {
    std::size_t entries = 0;
    std::size_t bytes = 0;
    Order order;  // kept only where scopes have bounds
  };
  struct PairHash {
    std::size_t operator()(const WrongPair& pair) const noexcept {
      return std::hash<Digest>()(pair.first) ^ (std::hash<Digest>()(pair.second) << 1);
    }
  };

  bool scopes_are_bounded() const { return limits_.max_scope_entries > 0 || limits_.max_scope_bytes > 0; }
  double priority_of(const EntryUse& use) const;
  EntryPointer take(EntryId id);
  void evict_from(const Order& order, Entries& removed);

  StoreLimits limits_;
  bool keep_vectors_;
  mutable BriefMutex mutex_;  // of everything below
  std::unordered_map<EntryId, Slot> slots_;
  std::unordered_map<Digest, Slot*> by_key_;  // nodes of `slots_` stay where they are
  Order order_;
  std::set<std::pair<Entry::TimePoint, EntryId>> expiries_;
  std::unordered_map<Digest, ScopeUse> scopes_;
  std::unordered_set<WrongPair, PairHash> wrong_pairs_;
  std::deque<WrongPair> wrong_pairs_by_age_;
  std::size_t bytes_ = 0;
  std::uint64_t uses_ = 0;
  double floor_ = 0;
};

}  // namespace promptcache::store
