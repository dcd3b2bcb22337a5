#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "promptcache/base/log.hpp"
#include "promptcache/cache/decision_record.hpp"
#include "promptcache/cache/invalidation.hpp"
#include "promptcache/cache/lookup.hpp"
#include "promptcache/cache/request.hpp"
#include "promptcache/cache/stats.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/embed/pair_scorer.hpp"
#include "promptcache/index/similarity_index.hpp"
#include "promptcache/policy/cache_policy.hpp"
#include "promptcache/policy/guards.hpp"
#include "promptcache/policy/judge.hpp"
#include "promptcache/store/entry_store.hpp"

namespace promptcache {

/// Makes the index of a new scope; the argument is the embedder's dimension.
using IndexFactory = std::function<std::unique_ptr<SimilarityIndex>(std::size_t)>;

/// What becomes of stored entries whose vectors are another embedder's. They are never compared with this one's.
enum class OtherEmbedder : std::uint8_t {
  re_embed,  ///< embedded again in the background, one by one; not found until then
  ignore,    ///< left alone, and not found
  refuse,    ///< making the cache throws `Error(mismatch)`
};

/// What happens to those who wait when the one that computes for them fails.
enum class LeaderFailure : std::uint8_t {
  re_elect,  ///< the next of them computes
  share,     ///< callers of `get_or_compute` get its exception
};

/// Takes a part of a response.
using ChunkCallback = std::function<void(std::string_view)>;

struct CacheOptions {
  std::shared_ptr<const Embedder> embedder;  ///< needed
  std::shared_ptr<CachePolicy> policy;       ///< needed
  /// Looks for reasons why a candidate cannot serve: one that is vetoed is passed over, other findings are evidence for
  /// the policy. Needed by a policy that weighs them.
  std::shared_ptr<const Guards> guards = {};
  /// Asked about the best candidate where the policy wants to know, while a request's timeout leaves time for it.
  std::shared_ptr<const PairScorer> pair_scorer = {};
  /// Compares responses for a policy that audits, which needs one. Asked in the background, one audit after the other;
  /// `TimedJudge` keeps one that hangs from holding up the rest.
  std::shared_ptr<const Judge> judge = {};
  std::shared_ptr<EntryStore> store = {};  ///< default: a `MemoryStore` with its default options
  IndexFactory make_index = {};            ///< default: an `HnswIndex` with its default options
  OtherEmbedder other_embedder = OtherEmbedder::re_embed;

  std::optional<std::chrono::milliseconds> ttl = {};      ///< of entries whose response has none
  std::optional<std::chrono::milliseconds> max_age = {};  ///< no entry is served longer, whatever its TTL
  bool extend_on_hit = false;                             ///< a hit lets the TTL begin anew; never beyond `max_age`

  LeaderFailure leader_failure = LeaderFailure::re_elect;
  /// `get_or_compute` also waits for a response that is being computed for a similar prompt, when the policy would
  /// serve it.
  bool coalesce_similar = false;

  /// Keys and scopes are kept as HMACs under this secret, so that digests in records say nothing to who can only guess
  /// prompts; decision tokens are signed with it. Entries stored under another secret are not found.
  std::string secret = {};

  std::size_t max_stuck = 8;  ///< calls with a timeout that may hang at once; more lookups are misses at once
  std::chrono::milliseconds closing_wait{1000};  ///< that the destructor gives calls still under way
  std::size_t remembered_decisions = 10'000;     ///< lookups back to which a hit can be reported by its number

  std::function<Entry::TimePoint()> clock = {};  ///< default: the system's
  LogCallback log = {};                          ///< told when a part fails and a lookup goes on without it
  std::function<void(const DecisionRecord&)> on_decision = {};  ///< told of every lookup that is decided
};

/// A user's judgement of a response that was served.
enum class Feedback : std::uint8_t { right, wrong };

/// Answers a prompt from an earlier response when the policy takes it for the answer. Safe from many threads; no lock
/// is held while embedding or while the caller computes. A part that fails makes a miss that says why, never an
/// exception. With a policy that audits, some requests that would have been hits are misses (`Reason::audited`), and
/// what is inserted for them is compared with the candidate's response.
///
/// A lookup tries the exact tier (SHA-256 of scope and prompt), joins or opens the flight of its key, embeds the
/// prompt, searches the scope's own index, and asks the policy about the nearest entry. Responses are stored on a miss
/// only, and live as long as their TTL. Prompts longer than the encoder's window, and those it cannot represent, take
/// part in the exact tier only.
///
///     Cache cache({.embedder = TransformerEmbedder::open("models/all-MiniLM-L6-v2"),
///                  .policy = std::make_shared<ThresholdPolicy>(0.9)});
///     Reply reply = cache.get_or_compute({.prompt = question, .scope = Scope().tenant("acme")},
///                                        [&] { return llm.complete(question); });
class Cache {
 public:
  /// Entries already in the store are found from the start, their graphs built in the background. Throws `Error(usage)`
  /// without an embedder or a policy, or without what the policy needs, `Error(mismatch)` as `OtherEmbedder::refuse`
  /// says, and what the store throws.
  explicit Cache(CacheOptions options);
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  /// Tickets that wait are settled as misses; inserting with a ticket throws from now on. Waits at most `closing_wait`
  /// for calls that still hang; such a call keeps embedder, store and policy alive until it returns.
  ~Cache();

  /// The response of an earlier request, or that of `compute`, a function that returns text or a `Response`; its
  /// exception passes through and nothing is stored. Of many callers with the same scope and prompt at the same time
  /// one computes and the others wait; when it fails, the next computes.
  template <class Compute>
  Reply get_or_compute(const Request& request, Compute&& compute) {
    Lookup ticket = lookup_for_compute(request);
    if (ticket.hit()) return ticket.reply();
    Reply reply;
    reply.decision = ticket.decision();
    Response response;
    try {
      response = as_response(std::invoke(std::forward<Compute>(compute)));
    } catch (...) {
      share_failure(ticket);
      throw;
    }
    reply.response = response.text;
    insert(std::move(ticket), std::move(response));
    return reply;
  }

  /// The same for responses that arrive in parts. `produce` is called with a `ChunkCallback` to which it gives one part
  /// after the other; it returns nothing, or a `Response` whose text and chunks are ignored. The parts go to `sink` as
  /// they come, and to all who wait for the same response; a stored response comes in its original parts. Only a
  /// complete response is stored. What `produce` throws passes through: callers who had parts already get it too, the
  /// others compute. What `sink` throws ends `produce`, unless others follow; then it passes through at the end.
  template <class Produce>
  Reply get_or_stream(const Request& request, Produce&& produce, const ChunkCallback& sink) {
    return stream(
        request,
        [&](const ChunkCallback& emit) {
          if constexpr (std::is_void_v<std::invoke_result_t<Produce, const ChunkCallback&>>) {
            std::invoke(produce, emit);
            return Response();
          } else {
            return Response(std::invoke(produce, emit));
          }
        },
        sink);
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

  /// Judges a hit by `reply.decision.id`. A wrong one's entry is removed, and what similarity decided is remembered: an
  /// entry stored later for the same prompt is not served to this request again. Either way the policy is told when
  /// similarity decided. False when the id is no hit of this cache, is forgotten (`remembered_decisions`) or was
  /// reported before.
  bool report(DecisionId decision, Feedback feedback);

  /// The decision on a hit as a text that holds all that `report` needs: it may go through other hands and come back
  /// days later, to another process that has the same store. Signed when the cache has a secret; otherwise whoever can
  /// make one up can remove entries. Empty for a miss. About 300 characters, hexadecimal.
  std::string token(const Decision& decision) const;

  /// Judges a hit by its token. Throws `Error`: format for what is no token, mismatch for one of another store or a
  /// wrong signature.
  bool report(std::string_view token, Feedback feedback);

  /// Removes entries; those that are being computed meanwhile and would be covered are not stored. With `dry_run`
  /// nothing changes. Returns the number of entries. Looks at every entry. Throws `Error(usage)` for no condition.
  std::size_t invalidate(const Invalidation& which, bool dry_run = false);

  CacheStats stats() const;

  /// Returns when no entry waits to be embedded again.
  void wait_for_re_embedding() const;

  /// Returns when the judge has spoken about all that was inserted.
  void wait_for_verdicts() const;

 private:
  struct Core;
  friend class Lookup;

  Lookup lookup_for_compute(const Request& request);
  void share_failure(const Lookup& ticket) const;
  Reply stream(const Request& request, const std::function<Response(const ChunkCallback&)>& produce,
               const ChunkCallback& sink);
  static Response as_response(Response response) { return response; }
  static Response as_response(std::string text) { return {.text = std::move(text)}; }

  std::shared_ptr<Core> core_;
};

}  // namespace promptcache
