#include "promptcache/store/memory_store.hpp"

#include <atomic>
#include <utility>

#include "store/table.hpp"

namespace promptcache {

struct MemoryStore::Impl {
  store::Table table;
  std::atomic<EntryId> last_id{0};
  std::uint64_t instance = store::random_instance();
};

MemoryStore::MemoryStore(MemoryStoreOptions options)
    : impl_(new Impl{.table = {std::move(options.limits), options.keep_vectors}}) {}

MemoryStore::~MemoryStore() = default;

EntryStore::PutResult MemoryStore::put(Entry entry) {
  if (!impl_->table.fits(entry)) return {};
  PutResult result;
  result.id = entry.id = ++impl_->last_id;
  result.removed = impl_->table.put(std::move(entry));
  return result;
}

EntryStore::EntryPointer MemoryStore::get(EntryId id) const { return impl_->table.get(id); }
EntryStore::EntryPointer MemoryStore::find(const Digest& key) const { return impl_->table.find(key); }
void MemoryStore::touch(EntryId id) { impl_->table.touch(id); }
void MemoryStore::extend(EntryId id, Entry::TimePoint expires) { impl_->table.extend(id, expires); }

std::vector<EntryStore::EntryPointer> MemoryStore::erase(const std::vector<EntryId>& ids) {
  return impl_->table.erase(ids);
}
std::vector<EntryStore::EntryPointer> MemoryStore::erase_expired(Entry::TimePoint now, std::size_t limit) {
  return impl_->table.erase_expired(now, limit);
}

std::size_t MemoryStore::size() const { return impl_->table.size(); }
std::size_t MemoryStore::bytes() const { return impl_->table.bytes(); }

void MemoryStore::for_each(const std::function<void(const EntryPointer&)>& visit) const {
  for (const EntryPointer& entry : impl_->table.all()) visit(entry);  // no lock: a visitor may call back
}

void MemoryStore::add_wrong_pair(const Digest& request, const Digest& entry) {
  impl_->table.add_wrong_pair({request, entry});
}
bool MemoryStore::is_wrong_pair(const Digest& request, const Digest& entry) const {
  return impl_->table.is_wrong_pair({request, entry});
}
std::uint64_t MemoryStore::instance() const { return impl_->instance; }

}  // namespace promptcache
