#include "promptcache/store/memory_store.hpp"

#include <iterator>
#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache {

MemoryStore::MemoryStore(const MemoryStoreOptions& options) : options_(options) {
  if (options.max_entries == 0) {
    throw Error(ErrorCode::usage, {"MemoryStoreOptions.max_entries"}, "0", "at least 1");
  }
}

EntryStore::EntryPointer MemoryStore::take(Recency::iterator place) {
  EntryPointer entry = std::move(*place);
  by_id_.erase(entry->id);
  by_key_.erase(entry->key);
  recency_.erase(place);
  return entry;
}

EntryStore::PutResult MemoryStore::put(Entry entry) {
  PutResult result;
  const auto shared = std::make_shared<Entry>(std::move(entry));
  const std::lock_guard lock(mutex_);
  shared->id = result.id = next_id_++;
  if (const auto same = by_key_.find(shared->key); same != by_key_.end()) result.removed.push_back(take(same->second));
  while (recency_.size() >= options_.max_entries) result.removed.push_back(take(std::prev(recency_.end())));
  recency_.push_front(shared);
  by_id_[shared->id] = recency_.begin();
  by_key_[shared->key] = recency_.begin();
  return result;
}

EntryStore::EntryPointer MemoryStore::get(EntryId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : *found->second;
}

EntryStore::EntryPointer MemoryStore::find(const Digest& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : *found->second;
}

void MemoryStore::touch(EntryId id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found != by_id_.end()) recency_.splice(recency_.begin(), recency_, found->second);
}

EntryStore::EntryPointer MemoryStore::erase(EntryId id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : take(found->second);
}

std::size_t MemoryStore::size() const {
  const std::lock_guard lock(mutex_);
  return recency_.size();
}

void MemoryStore::for_each(const std::function<void(const EntryPointer&)>& visit) const {
  std::vector<EntryPointer> all;  // a visitor may call back into the store
  {
    const std::lock_guard lock(mutex_);
    all.assign(recency_.begin(), recency_.end());
  }
  for (const EntryPointer& entry : all) visit(entry);
}

}  // namespace promptcache
