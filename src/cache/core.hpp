#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cache/audits.hpp"
#include "cache/decision_log.hpp"
#include "cache/invalidation_log.hpp"
#include "cache/metrics.hpp"
#include "cache/near_flights.hpp"
#include "cache/scope_indexes.hpp"
#include "cache/single_flight.hpp"
#include "cache/worker_pool.hpp"
#include "promptcache/cache/cache.hpp"

namespace promptcache {

namespace cache {

/// What a lookup asks and finds. With a timeout, a worker fills one of its own, so that a call that hangs touches
/// nothing of the caller's.
struct Probe {
  Digest scope;
  Digest key;
  std::string prompt;

  std::optional<std::chrono::steady_clock::time_point> deadline;

  Reply reply;                       // of a hit; of a miss the decision only
  EntryStore::EntryPointer offered;  // the candidate that the policy was asked about, until it is concluded
  bool hit = false;
  bool embedded = false;  // `vector` is final: the prompt's, or empty when it takes part in exact matches only
  std::vector<float> vector;
};

}  // namespace cache

/// What a ticket carries.
struct Lookup::State {
  std::weak_ptr<Cache::Core> core;
  std::shared_ptr<cache::SingleFlight> flights;
  cache::SingleFlight::SeatPointer seat;  // null: a hit from the start, or a wait given up
  std::shared_ptr<const Entry::Fields> fields;
  cache::Probe probe;
  std::optional<std::chrono::nanoseconds> timeout;
  std::optional<cache::WorkerPool::TimePoint> deadline;  // of the lookup, waiting included
  std::uint64_t invalidations = 0;                       // made before this lookup
  Entry::TimePoint started;
  bool waiting = false;  // as last seen
  cache::NearFlights::Place near;
  std::unique_ptr<cache::Audit> audit;
};

/// The cache behind its interface; tickets keep it alive while they insert.
struct Cache::Core : std::enable_shared_from_this<Cache::Core> {
  using EntryPointer = EntryStore::EntryPointer;

  CacheOptions options;
  Digest embedder_identity;
  std::size_t dimension;
  std::uint64_t instance;  // of this cache, random
  cache::ScopeIndexes indexes;
  cache::DecisionLog decisions;
  cache::InvalidationLog invalidations;
  cache::Metrics metrics;
  cache::WorkerPool workers;
  std::shared_ptr<cache::SingleFlight> flights = std::make_shared<cache::SingleFlight>();
  std::shared_ptr<cache::NearFlights> near_flights = std::make_shared<cache::NearFlights>();
  cache::AuditQueue audits;

  explicit Core(CacheOptions given);

  /// Takes in what is stored. Not part of making it, since work in the background needs a shared pointer to it.
  void start();
  void close();

  Digest stored_scope(const ScopeId& scope) const;
  Digest stored_key(const Digest& scope, std::string_view prompt) const;

  void look_up(Lookup::State& ticket, cache::WorkerPool::TimePoint start);
  /// Waits for a response that is being computed for a similar prompt; the ticket is a hit then.
  void join_similar(Lookup::State& ticket);
  std::optional<EntryId> insert(Lookup::State& ticket, Response response);
  bool report(DecisionId decision, Feedback feedback);
  bool report(std::string_view token, Feedback feedback);
  std::string token(const Decision& decision) const;
  std::size_t invalidate(const Invalidation& which, bool dry_run);
  CacheStats stats() const;
  void wait_for_re_embedding();

  /// Makes a hit of a ticket whose flight was settled by another. `core` may be null: the cache is gone.
  static void coalesce(Core* core, Lookup::State& ticket, const Reply& result);
  /// Counts and records a lookup that ended without a response.
  void note_miss(const Lookup::State& ticket);

 private:
  struct Insertion;
  using TimePoint = cache::WorkerPool::TimePoint;

  template <class Work, class Action>
  bool within(std::optional<TimePoint> deadline, Work& work, Reason* reason, Action action);
  void find_exact(cache::Probe& probe);
  void embed(cache::Probe& probe);
  void find_similar(cache::Probe& probe);
  bool search(cache::Probe& probe, std::vector<Candidate>& found);
  bool read_candidates(cache::Probe& probe, Evidence& evidence, EntryPointer& best);
  void score_pair(const cache::Probe& probe, const Entry& entry, Evidence& evidence, std::chrono::nanoseconds& time);
  double draw_coin();
  void conclude(Lookup::State& ticket);
  bool servable(const Entry& entry);
  void answer(cache::Probe& probe, const Entry& entry, Outcome outcome);
  void note_use(const Entry& entry);
  void accept(Lookup::State& ticket);
  void record(const Lookup::State& ticket) const;
  void store_and_index(Insertion& work);
  void add_to_index(const Entry& entry);
  void drop(const EntryPointer& entry);
  void drop_expired();
  bool judge(const cache::DecisionLog::Record& record, Feedback feedback);
  void index_stored_entries();
  void re_embed(EntryId id);
  void note_failure(const char* part, const char* what, const char* consequence);

  std::atomic<std::int64_t> slow_score_{0};  // nanoseconds that the pair scorer took in slow calls of late
  std::mutex coin_mutex_;
  std::mt19937_64 coins_;

  mutable std::mutex background_mutex_;  // of the next three
  mutable std::condition_variable background_changed_;
  std::vector<EntryId> to_re_embed_;
  bool closing_ = false;
  bool re_embedding_ = false;
};

/// Runs an action on `work`: here, or with a deadline on a worker and a copy. False, with the reason, when it did not
/// end in time; `work` is as it was then.
template <class Work, class Action>
bool Cache::Core::within(std::optional<TimePoint> deadline, Work& work, Reason* reason, Action action) {
  if (!deadline) {
    action(*this, work);
    return true;
  }
  const auto copy = std::make_shared<Work>(work);
  const auto result = workers.run([core = shared_from_this(), copy, action] { action(*core, *copy); }, *deadline);
  if (result == cache::WorkerPool::Result::done) {
    work = std::move(*copy);
    return true;
  }
  ++metrics.timeouts;
  if (result == cache::WorkerPool::Result::rejected) ++metrics.rejections;
  if (reason != nullptr) {
    *reason = result == cache::WorkerPool::Result::rejected ? Reason::overloaded : Reason::timed_out;
  }
  return false;
}

}  // namespace promptcache
