#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/decision_log.hpp"
#include "cache/scope_indexes.hpp"
#include "cache/single_flight.hpp"
#include "promptcache/cache/cache.hpp"

namespace promptcache {

/// What a ticket carries.
struct Lookup::State {
  std::weak_ptr<Cache::Core> core;
  std::shared_ptr<cache::SingleFlight> flights;
  cache::SingleFlight::SeatPointer seat;  // null: a hit from the start
  Digest scope;
  Digest key;
  std::string prompt;
  bool waiting = false;   // as last seen
  bool embedded = false;  // `vector` is final: the prompt's, or empty when it takes part in exact matches only
  std::vector<float> vector;
  Reply reply;  // of a hit; of a miss the decision only
  bool hit = false;
};

/// The cache behind its interface; tickets keep it alive while they insert.
struct Cache::Core : std::enable_shared_from_this<Cache::Core> {
  using EntryPointer = EntryStore::EntryPointer;

  CacheOptions options;
  Digest embedder_identity;
  std::size_t dimension;
  cache::ScopeIndexes indexes;
  cache::DecisionLog decisions;
  std::shared_ptr<cache::SingleFlight> flights = std::make_shared<cache::SingleFlight>();

  struct Counters {
    std::atomic<std::uint64_t> lookups{0}, exact_hits{0}, semantic_hits{0}, coalesced{0}, misses{0}, inserts{0},
        evictions{0}, failures{0}, wrong_hits{0};
  } counters;

  explicit Core(CacheOptions given);

  void look_up(Lookup::State& ticket);
  std::optional<EntryId> insert(Lookup::State& ticket, Response response);
  bool report(DecisionId decision, Feedback feedback);
  CacheStats stats() const;

  /// Makes a hit of a ticket whose flight was settled by another. `core` may be null: the cache is gone.
  static void coalesce(Core* core, Lookup::State& ticket, const Reply& result);

 private:
  void index_stored_entries();
  bool find_exact(Lookup::State& ticket);
  bool embed(Lookup::State& ticket, Reason& reason);
  bool find_similar(Lookup::State& ticket);
  void serve(Lookup::State& ticket, const EntryPointer& entry, Outcome outcome, const Evidence& evidence);
  void add_to_index(const Entry& entry);
  void remove(const EntryPointer& entry);
  void note_failure(const char* part, const char* what, const char* consequence);
};

}  // namespace promptcache
