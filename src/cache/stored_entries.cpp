// What a cache does with entries that were stored before it was made.
#include <chrono>
#include <thread>
#include <utility>

#include "cache/attempt.hpp"
#include "cache/core.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {

using cache::attempt;

void Cache::Core::start() {
  index_stored_entries();
  if (to_re_embed_.empty()) return;
  re_embedding_ = true;
  // Detached, and with a weak pointer: an embedder that hangs must not keep the cache from being destroyed.
  std::thread([weak = weak_from_this()] {
    for (;;) {
      const std::shared_ptr<Core> core = weak.lock();
      if (!core) return;
      EntryId id = 0;
      {
        const std::lock_guard lock(core->background_mutex_);
        if (!core->closing_ && !core->to_re_embed_.empty()) id = core->to_re_embed_.back();
      }
      if (id != 0) core->re_embed(id);
      const std::lock_guard lock(core->background_mutex_);
      if (id != 0) core->to_re_embed_.pop_back();
      if (!core->closing_ && !core->to_re_embed_.empty()) continue;
      core->re_embedding_ = false;
      core->background_changed_.notify_all();
      return;
    }
  }).detach();
}

void Cache::Core::index_stored_entries() {
  options.store->for_each_with_vector([&](const EntryPointer& entry) {
    if (entry->embedder != embedder_identity) {
      if (options.other_embedder == OtherEmbedder::refuse) {
        throw Error(ErrorCode::mismatch, {"Cache"}, "stored vectors of embedder " + entry->embedder.hex().substr(0, 12),
                    "embedder " + embedder_identity.hex().substr(0, 12));
      }
      if (options.other_embedder == OtherEmbedder::re_embed) to_re_embed_.push_back(entry->id);
    } else if (entry->vector.size() == dimension) {
      indexes.find_or_make(entry->scope)->add(entry->id, entry->vector);
    }
  });
}

/// Stores an entry of another embedder once more, with a vector and a key of ours, and removes the old one.
void Cache::Core::re_embed(EntryId id) {
  std::string what;
  const bool done = attempt(
      [&] {
        const EntryPointer old = options.store->get(id);
        if (!old || !servable(*old)) return;
        cache::Probe probe;
        probe.scope = old->scope;
        probe.key = stored_key(old->scope, old->prompt);
        probe.prompt = old->prompt;
        EntryPointer same = options.store->find(probe.key);
        if (!same) {  // else somebody has asked the same meanwhile: the newer response stays
          embed(probe);
          Entry entry = *old;
          entry.key = probe.key;
          entry.embedder = embedder_identity;
          entry.vector = probe.vector;
          if (!entry.vector.empty()) {
            entry.index_bytes = indexes.find_or_make(entry.scope)->bytes_per_entry();
          }
          Entry place;
          place.scope = entry.scope;
          place.vector = entry.vector;
          const EntryStore::PutResult result = options.store->put(std::move(entry));
          for (const EntryPointer& removed : result.removed) drop(removed);
          place.id = result.id;
          if (result.id != 0 && !place.vector.empty()) add_to_index(place);
        }
        for (const EntryPointer& removed : options.store->erase({id})) drop(removed);
      },
      what);
  if (!done) note_failure("embedding again", what.c_str(), "the entry stays as it was, and is not found");
}

void Cache::Core::wait_for_re_embedding() {
  std::unique_lock lock(background_mutex_);
  background_changed_.wait(lock, [&] { return !re_embedding_; });
}

}  // namespace promptcache
