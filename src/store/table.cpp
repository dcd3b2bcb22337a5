#include "store/table.hpp"

#include <cmath>
#include <limits>
#include <random>

namespace promptcache {
namespace {

/// What a block of memory takes in the heap: its head, and rounding to 16 bytes.
std::size_t heap_bytes(std::size_t bytes) { return bytes == 0 ? 0 : (bytes + 8 + 15) / 16 * 16; }

std::size_t heap_bytes(const std::string& text) {
  constexpr std::size_t inside = 15;  // of std::string itself
  return text.capacity() > inside ? heap_bytes(text.capacity() + 1) : 0;
}

}  // namespace

std::size_t accounted_bytes(const Entry& entry, bool keeps_vector) {
  constexpr std::size_t pointers = 2 * sizeof(void*);
  // The entry behind its shared pointer; its slot, its place by key and by priority, each a node of a container, and
  // the buckets of the two hash tables.
  std::size_t bytes = heap_bytes(sizeof(Entry) + pointers) + heap_bytes(sizeof(EntryId) + 88 + pointers / 2) +
                      heap_bytes(sizeof(Digest) + 3 * sizeof(EntryId)) + heap_bytes(32 + 16) + 2 * pointers;
  bytes += heap_bytes(entry.prompt) + heap_bytes(entry.response);
  bytes += heap_bytes(entry.chunks.capacity() * sizeof(std::uint32_t));
  bytes += heap_bytes(entry.tags.capacity() * sizeof(std::string));
  for (const std::string& tag : entry.tags) bytes += heap_bytes(tag);
  if (entry.expires != Entry::TimePoint::max()) bytes += heap_bytes(32 + 16);
  if (keeps_vector) bytes += heap_bytes(entry.vector.capacity() * sizeof(float));
  return bytes + entry.index_bytes;
}

namespace store {

std::uint64_t random_instance() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

Table::Table(StoreLimits limits, bool keep_vectors) : limits_(std::move(limits)), keep_vectors_(keep_vectors) {
  if (!limits_.eviction) limits_.eviction = std::make_shared<LeastRecentlyUsed>();
}

bool Table::fits(const Entry& entry) const {
  const std::size_t bytes = accounted_bytes(entry, keep_vectors_);
  return (limits_.max_bytes == 0 || bytes <= limits_.max_bytes) &&
         (limits_.max_scope_bytes == 0 || bytes <= limits_.max_scope_bytes);
}

double Table::priority_of(const EntryUse& use) const {
  const double priority = limits_.eviction->priority(use);
  return std::isnan(priority) ? -std::numeric_limits<double>::infinity() : priority;
}

Table::EntryPointer Table::take(EntryId id) {
  const auto found = slots_.find(id);
  if (found == slots_.end()) return nullptr;
  Slot& slot = found->second;
  EntryPointer entry = std::move(slot.entry);
  order_.erase(slot.place);
  by_key_.erase(entry->key);
  if (entry->expires != Entry::TimePoint::max()) expiries_.erase({entry->expires, id});
  const auto scope = scopes_.find(entry->scope);
  scope->second.bytes -= slot.use.bytes;
  if (scopes_are_bounded()) scope->second.order.erase({slot.priority, id});
  if (--scope->second.entries == 0) scopes_.erase(scope);
  bytes_ -= slot.use.bytes;
  slots_.erase(found);
  return entry;
}

void Table::evict_from(const Order& order, Entries& removed) {
  floor_ = std::max(floor_, order.begin()->first);
  removed.push_back(take(order.begin()->second));
}

Table::Entries Table::put(Entry given) {
  Entries removed;
  if (!keep_vectors_) std::vector<float>().swap(given.vector);  // assigning {} would keep the memory
  Slot slot;
  slot.use.cost = given.cost;
  slot.use.bytes = accounted_bytes(given, keep_vectors_);
  const auto entry = std::make_shared<const Entry>(std::move(given));
  slot.entry = entry;
  const std::size_t bytes = slot.use.bytes;

  const std::lock_guard lock(mutex_);
  if (const auto same = by_key_.find(entry->key); same != by_key_.end())
    removed.push_back(take(same->second->entry->id));
  const auto scope_is_full = [&] {
    const auto scope = scopes_.find(entry->scope);
    if (scope == scopes_.end()) return false;
    return (limits_.max_scope_entries > 0 && scope->second.entries >= limits_.max_scope_entries) ||
           (limits_.max_scope_bytes > 0 && scope->second.bytes + bytes > limits_.max_scope_bytes);
  };
  while (scope_is_full()) evict_from(scopes_.find(entry->scope)->second.order, removed);
  while (!slots_.empty() && ((limits_.max_entries > 0 && slots_.size() >= limits_.max_entries) ||
                             (limits_.max_bytes > 0 && bytes_ + bytes > limits_.max_bytes))) {
    evict_from(order_, removed);
  }
  slot.use.last_used = ++uses_;
  slot.use.floor = floor_;
  slot.priority = priority_of(slot.use);
  slot.place = order_.emplace_hint(order_.end(), slot.priority, entry->id);
  ScopeUse& scope = scopes_[entry->scope];
  ++scope.entries;
  scope.bytes += bytes;
  if (scopes_are_bounded()) scope.order.emplace_hint(scope.order.end(), slot.priority, entry->id);
  if (entry->expires != Entry::TimePoint::max()) expiries_.emplace(entry->expires, entry->id);
  bytes_ += bytes;
  by_key_[entry->key] = &(slots_[entry->id] = std::move(slot));
  return removed;
}

Table::EntryPointer Table::get(EntryId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(id);
  return found == slots_.end() ? nullptr : found->second.entry;
}

Table::EntryPointer Table::find(const Digest& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second->entry;
}

void Table::touch(EntryId id) {
  // A use that is not noted because others are at it costs less than waiting for them.
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  const auto found = slots_.find(id);
  if (found == slots_.end()) return;
  Slot& slot = found->second;
  slot.use.last_used = ++uses_;
  ++slot.use.hits;
  slot.use.floor = floor_;
  const double before = std::exchange(slot.priority, priority_of(slot.use));
  // The node moves; nothing is allocated.
  const auto move = [&](Order& order, Order::iterator place) {
    auto node = order.extract(place);
    node.value() = {slot.priority, id};
    return order.insert(order.end(), std::move(node));
  };
  slot.place = move(order_, slot.place);
  if (scopes_are_bounded()) {
    Order& order = scopes_.find(slot.entry->scope)->second.order;
    move(order, order.find({before, id}));
  }
}

void Table::extend(EntryId id, Entry::TimePoint expires) {
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(id);
  if (found == slots_.end()) return;
  auto changed = std::make_shared<Entry>(*found->second.entry);  // others may be reading the old one
  if (changed->expires != Entry::TimePoint::max()) expiries_.erase({changed->expires, id});
  changed->expires = expires;
  if (expires != Entry::TimePoint::max()) expiries_.emplace(expires, id);
  found->second.entry = std::move(changed);
}

Table::Entries Table::erase(const std::vector<EntryId>& ids) {
  Entries removed;
  const std::lock_guard lock(mutex_);
  for (const EntryId id : ids) {
    if (EntryPointer entry = take(id)) removed.push_back(std::move(entry));
  }
  return removed;
}

Table::Entries Table::erase_expired(Entry::TimePoint now, std::size_t limit) {
  Entries removed;
  const std::lock_guard lock(mutex_);
  while (removed.size() < limit && !expiries_.empty() && expiries_.begin()->first <= now) {
    removed.push_back(take(expiries_.begin()->second));
  }
  return removed;
}

std::size_t Table::size() const {
  const std::lock_guard lock(mutex_);
  return slots_.size();
}

std::size_t Table::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Table::Entries Table::all() const {
  Entries result;
  const std::lock_guard lock(mutex_);
  result.reserve(slots_.size());
  for (const auto& [id, slot] : slots_) result.push_back(slot.entry);
  return result;
}

std::vector<Table::WrongPair> Table::add_wrong_pair(const WrongPair& pair) {
  std::vector<WrongPair> forgotten;
  const std::lock_guard lock(mutex_);
  if (!wrong_pairs_.insert(pair).second) return forgotten;
  wrong_pairs_by_age_.push_back(pair);
  while (limits_.max_wrong_pairs > 0 && wrong_pairs_by_age_.size() > limits_.max_wrong_pairs) {
    forgotten.push_back(wrong_pairs_by_age_.front());
    wrong_pairs_.erase(wrong_pairs_by_age_.front());
    wrong_pairs_by_age_.pop_front();
  }
  return forgotten;
}

bool Table::is_wrong_pair(const WrongPair& pair) const {
  const std::lock_guard lock(mutex_);
  return !wrong_pairs_.empty() && wrong_pairs_.contains(pair);
}

}  // namespace store
}  // namespace promptcache
