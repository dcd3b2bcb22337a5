#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "promptcache/base/log.hpp"
#include "promptcache/cache/lookup.hpp"
#include "promptcache/cache/request.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/index/similarity_index.hpp"
#include "promptcache/policy/cache_policy.hpp"
#include "promptcache/store/entry_store.hpp"

namespace promptcache {

/// Makes the index of a new scope; the argument is the embedder's dimension.
using IndexFactory = std::function<std::unique_ptr<SimilarityIndex>(std::size_t)>;

struct CacheOptions {
  std::shared_ptr<const Embedder> embedder;   ///< needed
  std::shared_ptr<CachePolicy> policy;        ///< needed
  std::shared_ptr<EntryStore> store = {};     ///< default: a `MemoryStore` with its default options
  IndexFactory make_index = {};               ///< default: an `HnswIndex` with its default options
  std::size_t remembered_decisions = 10'000;  ///< lookups back to which a hit can be reported
  LogCallback log = {};                       ///< told when a part fails and a lookup goes on without it
};

/// A user's judgement of a response that was served.
enum class Feedback : std::uint8_t { right, wrong };

/// Counts since the cache was made.
struct CacheStats {
  std::uint64_t lookups = 0;
  std::uint64_t exact_hits = 0;
  std::uint64_t semantic_hits = 0;
  std::uint64_t coalesced = 0;
  std::uint64_t misses = 0;
  std::uint64_t inserts = 0;
  std::uint64_t evictions = 0;   ///< entries that made room for others
  std::uint64_t failures = 0;    ///< of embedder, index, policy or store; each made a miss, or an entry not stored
  std::uint64_t wrong_hits = 0;  ///< reported ones
  std::size_t entries = 0;       ///< stored now
  std::size_t scopes = 0;        ///< with an index now
};

/// Answers a prompt from an earlier response when the policy takes it for the answer. Safe from many threads; no lock
/// is held while embedding or while the caller computes. A part that fails makes a miss that says why, never an
/// exception.
///
/// A lookup tries the exact tier (SHA-256 of scope and prompt), joins or opens the flight of its key, embeds the
/// prompt, searches the scope's own index, and asks the policy about the nearest entry. Responses are stored on a miss
/// only. Prompts longer than the encoder's window, and those it cannot represent, take part in the exact tier only.
///
///     Cache cache({.embedder = TransformerEmbedder::open("models/all-MiniLM-L6-v2"),
///                  .policy = std::make_shared<ThresholdPolicy>(0.9)});
///     Reply reply = cache.get_or_compute({.prompt = question, .scope = Scope().tenant("acme")},
///                                        [&] { return llm.complete(question); });
class Cache {
 public:
  /// Entries already in the store are found from the start; those of another embedder by exact matches only. Throws
  /// `Error(usage)` without an embedder or a policy, and what the store throws.
  explicit Cache(CacheOptions options);
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  ~Cache();  ///< tickets that wait are settled as misses; inserting with a ticket throws from now on

  /// The response of an earlier request, or that of `compute`, a function that returns text or a `Response`; its
  /// exception passes through and nothing is stored. Of many callers with the same scope and prompt at the same time
  /// one computes and the others wait; when it fails, the next computes.
  template <class Compute>
  Reply get_or_compute(const Request& request, Compute&& compute) {
    Lookup ticket = lookup_for_compute(request);
    if (ticket.hit()) return ticket.reply();
    Reply reply;
    reply.decision = ticket.decision();
    Response response = as_response(std::invoke(std::forward<Compute>(compute)));
    reply.response = response.text;
    insert(std::move(ticket), std::move(response));
    return reply;
  }

  /// First of two steps: never waits for another request. The embedding is not computed again by `insert`.
  Lookup lookup(const Request& request);

  /// Second of two steps: stores the response to a miss and settles those who wait for it. Returns the entry, or
  /// nothing when the response is not cacheable or the store failed. Throws `Error`: usage when the ticket is a hit,
  /// still in flight, or used before; closed when its cache is gone; usage when it is another cache's.
  std::optional<EntryId> insert(Lookup&& ticket, Response response);
  std::optional<EntryId> insert(Lookup&& ticket, std::string response) {
    return insert(std::move(ticket), Response{.text = std::move(response)});
  }

  /// Judges a hit by `reply.decision.id`. A wrong one's entry is removed; either way the policy is told when similarity
  /// decided. False when the id is no hit of this cache, is forgotten (`remembered_decisions`) or was reported before.
  bool report(DecisionId decision, Feedback feedback);

  CacheStats stats() const;

 private:
  struct Core;
  friend class Lookup;

  Lookup lookup_for_compute(const Request& request);
  static Response as_response(Response response) { return response; }
  static Response as_response(std::string text) { return {.text = std::move(text)}; }

  std::shared_ptr<Core> core_;
};

}  // namespace promptcache
