#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "promptcache/base/digest.hpp"
#include "promptcache/index/similarity_index.hpp"  // EntryId

namespace promptcache {

/// The nearest candidates that a cache reads for its evidence.
inline constexpr std::size_t candidates_read = 4;

/// What is known about the best candidate when it is decided whether its response is served. A record from which a
/// decision can be replayed.
struct Evidence {
  EntryId entry = 0;
  double similarity = 0;                  ///< cosine of the prompt and the candidate's prompt
  std::optional<double> next_similarity;  ///< of the second-best candidate, when there is one
  /// Uniform in [0, 1), drawn by the cache for this lookup alone, independent of everything else: all the chance that a
  /// policy needs, so that decisions replay. 1: none was drawn; a policy that audits then serves nothing.
  double coin = 1;
  std::optional<double> pair_logit = {};     ///< of a model that reads both prompts together, as `PairScorer` gives it
  std::optional<std::uint64_t> guards = {};  ///< `GuardFlags::bits()` of what was found; empty: nobody looked
  /// Share of the next nearest candidates, `candidates_read` - 1 at most, that hold the very response of this one;
  /// empty: there is none.
  std::optional<double> agreement = {};
  std::uint32_t prompt_bytes = 0;  ///< length of the prompt; 0: not told
  std::uint32_t candidate_bytes = 0;
};

/// Why a response was served, or not.
enum class Reason : std::uint8_t {
  exact_match,      ///< served: the same prompt in the same scope
  similar,          ///< served: the policy took the candidate
  not_similar,      ///< the policy refused the best candidate
  no_candidate,     ///< nothing is stored in this scope
  truncated,        ///< the prompt is longer than the encoder's window, so its vector does not speak for all of it
  unrepresented,    ///< the prompt is empty or nothing but unknown tokens to the encoder
  embedder_failed,  ///< the embedder threw, or returned a vector of another length or with NaN
  index_failed,
  policy_failed,
  store_failed,
  reported_wrong,  ///< the candidates were reported as wrong hits for this very prompt
  timed_out,       ///< a part did not answer in time
  overloaded,      ///< too many lookups hang already, so this one was not begun
  in_flight,       ///< another request computes this very response, or has failed to
  audited,         ///< the policy took the candidate, but has the response computed to see whether it was right to
  vetoed,          ///< a guard found why the candidate's response cannot serve
};

inline constexpr std::size_t reason_count = static_cast<std::size_t>(Reason::vetoed) + 1;

/// Name of a reason as it appears in logs, for example "exact_match".
const char* to_string(Reason reason) noexcept;

/// What a judge says of a candidate's response once the prompt's own response is there.
enum class Verdict : std::uint8_t {
  right,      ///< it would have served
  wrong,      ///< it would not
  missing,    ///< nobody knows: the judge threw, or was too slow; counts as wrong for good
  cancelled,  ///< nothing was computed, so there is nothing to compare; as if the request had not come
};

/// Name of a verdict, for example "right".
const char* to_string(Verdict verdict) noexcept;

/// Names one lookup of one cache, for `Cache::report`.
using DecisionId = std::uint64_t;

/// How long the parts of a lookup took; zero for those that did not run.
struct Timings {
  std::chrono::nanoseconds exact{0};   ///< digest and exact tier
  std::chrono::nanoseconds embed{0};   ///< embedder
  std::chrono::nanoseconds search{0};  ///< index of the scope, entries, guards
  std::chrono::nanoseconds score{0};   ///< pair scorer
  std::chrono::nanoseconds decide{0};  ///< policy
};

/// The outcome of a lookup with the evidence for it. A policy fills the middle part, the cache the rest.
struct Decision {
  DecisionId id = 0;
  EntryId entry = 0;  ///< the candidate, served or not; 0: none
  Digest request;     ///< key of the exact tier
  Digest candidate;   ///< that of the candidate's own request

  bool serve = false;
  double similarity = 0;                  ///< of the candidate; 1 for an exact match
  std::optional<double> next_similarity;  ///< of the second-best candidate, when there is one
  std::optional<double> threshold;        ///< served were similarities strictly above it
  std::optional<double> probability;      ///< point estimate of P(the candidate's response serves this prompt)
  std::optional<double> bound;  ///< proven upper bound of the rate of wrong hits; empty where nothing is proven
  Reason reason = Reason::no_candidate;
  /// With which probability, fixed before the coin was looked at, the candidate's response is compared with the one
  /// that is computed now.
  std::optional<double> audit_probability;
  std::uint64_t audit = 0;  ///< not 0: a verdict is wanted, and this is its name for `CachePolicy::judged`

  Evidence evidence;  ///< what the policy was asked with; its entry is 0 when it was not asked
  Timings timings;
};

/// Decides whether a candidate's response is served. `decide` is pure: the same evidence gives the same decision until
/// one of `record`, `judged` and `observe` is called. All are safe from many threads.
class CachePolicy {
 public:
  virtual ~CachePolicy() = default;

  /// Fills `serve`, `similarity`, `threshold`, `probability`, `bound` and `reason` (similar, not_similar or audited).
  virtual Decision decide(const Evidence& evidence) const = 0;

  /// Whether a pair's logit could change what `decide` says of this evidence, which has none yet.
  virtual bool wants_pair_logit(const Evidence& evidence) const {
    static_cast<void>(evidence);
    return false;
  }

  /// Whether findings of guards count; a cache without guards refuses such a policy.
  virtual bool wants_guards() const { return false; }

  /// Whether some candidates are audited: then a coin is drawn for each lookup, every decision is recorded, and nothing
  /// is served that was not.
  virtual bool audits() const { return false; }

  /// Makes a decision final: called once for each, right behind `decide` and before anything is served. A policy with
  /// an account of its hits decides again, since another thread may have come between, and gives an audit its name.
  virtual void record(const Evidence& evidence, Decision& decision) {
    static_cast<void>(evidence);
    static_cast<void>(decision);
  }

  /// The verdict of an audit, by its name in the recorded decision: once for each, in any order, soon. Names it does
  /// not know, or was told of before, are ignored.
  virtual void judged(std::uint64_t audit, Verdict verdict) {
    static_cast<void>(audit);
    static_cast<void>(verdict);
  }

  /// Tells whether a served response was right, as its user reports. A policy that does not learn ignores it.
  virtual void observe(const Evidence& evidence, bool was_correct) {
    static_cast<void>(evidence);
    static_cast<void>(was_correct);
  }

  /// One line for logs: the kind of policy and its parameters.
  virtual std::string describe() const = 0;

  /// One line of JSON from which `make_policy` makes a policy of the same decisions; empty for those it does not know.
  virtual std::string parameters() const { return ""; }
};

/// A policy from its `parameters()`. Throws `Error`: format for what is no such JSON, unsupported for a kind this
/// library does not have.
std::shared_ptr<CachePolicy> make_policy(std::string_view parameters);

}  // namespace promptcache
