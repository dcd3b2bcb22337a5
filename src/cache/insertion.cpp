// Storing a response: in the store, in the index of its scope, and for those who wait for it.
#include <algorithm>
#include <cmath>
#include <utility>

#include "cache/attempt.hpp"
#include "cache/core.hpp"

namespace promptcache {

using cache::attempt;
using cache::Probe;
using Clock = std::chrono::steady_clock;

void Cache::Core::add_to_index(const Entry& entry) {
  indexes.find_or_make(entry.scope)->add(entry.id, entry.vector);
  // Removed between being stored and being indexed, it would stay in the index for ever.
  if (!options.store->get(entry.id)) indexes.remove(entry.scope, entry.id);
}

/// Takes an entry that the store has let go of out of its index.
void Cache::Core::drop(const EntryPointer& entry) {
  std::string what;
  if (!attempt([&] { indexes.remove(entry->scope, entry->id); }, what)) {
    note_failure("index", what.c_str(), "a removed entry stays in it, and is not served");
  }
}

void Cache::Core::drop_expired() {
  constexpr std::size_t at_once = 32;  // more than come in, so that they go sooner or later, and no insert waits long
  std::vector<EntryPointer> removed;
  std::string what;
  if (!attempt([&] { removed = options.store->erase_expired(options.clock(), at_once); }, what)) {
    note_failure("store", what.c_str(), "expired entries stay, and are not served");
  }
  for (const EntryPointer& entry : removed) drop(entry);
  metrics.expirations += removed.size();
}

/// What an insert works on.
struct Cache::Core::Insertion {
  Probe probe;
  std::shared_ptr<const Entry::Fields> fields;
  Response response;
  Entry::TimePoint started;
  std::uint64_t invalidations = 0;
  std::optional<EntryId> stored;
  bool covered = false;  // by an invalidation
};

void Cache::Core::store_and_index(Insertion& work) {
  drop_expired();
  if (!work.probe.embedded) embed(work.probe);  // elected after another led
  Entry entry;
  entry.key = work.probe.key;
  entry.scope = work.probe.scope;
  entry.fields = work.fields;
  entry.prompt = work.probe.prompt;
  entry.response = work.response.text;
  entry.chunks = work.response.chunks;
  entry.cost = std::isfinite(work.response.cost) ? work.response.cost : 0;
  entry.tags = work.response.tags;
  entry.created = options.clock();
  if (const auto ttl = work.response.ttl ? work.response.ttl : options.ttl) {
    entry.lifetime = *ttl;
    entry.expires = entry.created + *ttl;
  }
  if (options.max_age) entry.expires = std::min(entry.expires, entry.created + *options.max_age);
  entry.embedder = embedder_identity;
  entry.vector = work.probe.vector;

  Entry place;  // what the index needs, and what an invalidation is held against
  place.scope = entry.scope;
  place.fields = entry.fields;
  place.tags = entry.tags;
  place.created = work.started;
  std::string what;
  if (!entry.vector.empty()) {
    const bool indexed =
        attempt([&] { entry.index_bytes = indexes.find_or_make(entry.scope)->bytes_per_entry(); }, what);
    if (!indexed) note_failure("index", what.c_str(), "its memory is not accounted for");
  }
  EntryStore::PutResult result;
  if (!attempt([&] { result = options.store->put(std::move(entry)); }, what)) {
    note_failure("store", what.c_str(), "the response is not stored");
    return;
  }
  for (const EntryPointer& removed : result.removed) {
    if (removed->key != work.probe.key) ++metrics.evictions;
    drop(removed);
  }
  if (result.id == 0) {
    ++metrics.dropped;
    return;
  }
  place.id = result.id;
  if (invalidations.covered_since(work.invalidations, place)) {
    work.covered = true;
    ++metrics.dropped;
    std::vector<EntryPointer> removed;
    if (!attempt([&] { removed = options.store->erase({place.id}); }, what)) {
      note_failure("store", what.c_str(), "an invalidated entry stays");
    }
    return;
  }
  work.stored = result.id;
  ++metrics.inserts;
  place.vector = work.probe.vector;
  if (!place.vector.empty() && !attempt([&] { add_to_index(place); }, what)) {
    note_failure("index", what.c_str(), "the entry takes part in exact matches only");
  }
}

std::optional<EntryId> Cache::Core::insert(Lookup::State& ticket, Response response) {
  const auto start = Clock::now();
  if (ticket.audit) {
    ticket.audit->computed(response.text);
    audits.add(std::move(ticket.audit));
  }
  const bool ended = response.ttl && response.ttl->count() <= 0;
  if (!response.cacheable || ended) {
    if (ticket.seat) flights->release(*ticket.seat);
    return std::nullopt;
  }
  std::optional<TimePoint> deadline;
  if (ticket.timeout) deadline = start + *ticket.timeout;
  // An embedder that did not answer the lookup in time is not asked again: exact matches only.
  const Reason reason = ticket.probe.reply.decision.reason;
  if (reason == Reason::timed_out || reason == Reason::overloaded) ticket.probe.embedded = true;
  Insertion work{ticket.probe, ticket.fields, std::move(response), ticket.started, ticket.invalidations, {}, false};
  const bool done = within(deadline, work, nullptr, [](Core& core, Insertion& each) { core.store_and_index(each); });
  metrics.insert.add(Clock::now() - start);
  if (!ticket.seat) return work.stored;
  if (done && work.covered) {
    flights->release(*ticket.seat);  // who waits may have asked after the invalidation
    return std::nullopt;
  }
  Reply shared;
  shared.response = std::move(work.response.text);
  shared.chunks = std::move(work.response.chunks);
  shared.outcome = Outcome::coalesced;
  shared.decision.serve = true;
  shared.decision.entry = work.stored.value_or(0);
  shared.decision.candidate = ticket.probe.key;
  shared.decision.similarity = 1;
  shared.decision.reason = Reason::exact_match;
  flights->settle(*ticket.seat, std::make_shared<const Reply>(std::move(shared)));
  return work.stored;
}

}  // namespace promptcache
