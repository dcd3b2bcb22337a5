#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "promptcache/cache/request.hpp"

namespace promptcache {

/// A ticket: the first of the two steps of event-driven callers. It is one of
/// - a hit: `reply()` has the response;
/// - a miss: the caller leads, computes the response and gives it to `Cache::insert`; to destroy the ticket instead
/// gives
///   up the lead, and one that waits is elected;
/// - in flight: an earlier request with the same key leads. Wait, or register a callback; afterwards the ticket is a
/// hit
///   (`coalesced`), or a miss because it was elected or because the response may not be shared.
///
/// Owns copies of what it needs and may outlive its cache. Move-only; one thread at a time, but for the callback.
class Lookup {
 public:
  Lookup(Lookup&&) noexcept;
  Lookup& operator=(Lookup&&) noexcept;
  ~Lookup();

  bool hit() const;
  bool miss() const;
  bool in_flight() const;

  /// The response and its evidence. Throws `Error(usage)` when this is no hit.
  const Reply& reply() const;

  /// Why this is a hit or a miss.
  const Decision& decision() const;

  /// What `Cache::insert` does, for callers who have the ticket but not the cache at hand. Throws `Error(closed)` when
  /// the cache is gone. The ticket is spent.
  std::optional<EntryId> insert(Response response);

  /// Waits until the ticket is no longer in flight, or for `timeout`; true when it is settled.
  bool wait_for(std::chrono::nanoseconds timeout);

  /// Waits without limit. Throws `Error(usage)` when this very thread computes the response in `get_or_compute`.
  void wait();

  /// Has `callback` called once, when the ticket is settled: at once if it is, otherwise from the thread that settles
  /// it, which should not be kept long. The ticket must not be moved from or destroyed while the callback runs. Whoever
  /// registers a callback may be elected to lead. What the callback throws is dropped.
  void on_settled(std::function<void()> callback);

 private:
  friend class Cache;
  struct State;
  explicit Lookup(std::unique_ptr<State> state);
  State& live() const;  ///< throws when the ticket is spent
  void refresh() const;
  void wait_or_give_up();
  void leave() noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace promptcache
