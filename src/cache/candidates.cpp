// The nearest entries of a prompt, what is known of them, and what the policy makes of it.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/random.hpp"
#include "cache/attempt.hpp"
#include "cache/core.hpp"

namespace promptcache {

using cache::attempt;
using cache::Probe;

namespace {

using Clock = std::chrono::steady_clock;

/// Adds the time until the end of the scope to `sum`.
class Stopwatch {
 public:
  explicit Stopwatch(std::chrono::nanoseconds& sum) : sum_(sum), start_(Clock::now()) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { sum_ += Clock::now() - start_; }

 private:
  std::chrono::nanoseconds& sum_;
  Clock::time_point start_;
};

/// Rounding makes 1.0000001 of equal vectors, which would be above a threshold of 1.
double similarity_of(const Candidate& candidate) {
  return std::clamp(static_cast<double>(candidate.similarity), -1.0, 1.0);
}

std::uint32_t bytes_of(std::string_view text) {
  return static_cast<std::uint32_t>(std::min<std::size_t>(text.size(), UINT32_MAX));
}

}  // namespace

/// Fills the vector, or says why the prompt takes part in exact matches only.
void Cache::Core::embed(Probe& probe) {
  const Stopwatch watch(probe.reply.decision.timings.embed);
  Reason& reason = probe.reply.decision.reason;
  probe.embedded = true;
  if (probe.prompt.empty()) {
    reason = Reason::unrepresented;
    return;
  }
  std::vector<float> vector(dimension);
  EmbedReport report;
  std::string what;
  const std::string_view text = probe.prompt;
  if (!attempt([&] { report = options.embedder->embed({&text, 1}, vector); }, what)) {
    reason = Reason::embedder_failed;
    note_failure("embedder", what.c_str(), "exact matches only");
  } else if (!report.truncated.empty() || !report.unrepresented.empty()) {
    reason = report.truncated.empty() ? Reason::unrepresented : Reason::truncated;
  } else {
    probe.vector = std::move(vector);
  }
}

bool Cache::Core::search(Probe& probe, std::vector<Candidate>& found) {
  std::string what;
  const bool searched = attempt(
      [&] {
        if (const auto index = indexes.find(probe.scope)) found = index->search(probe.vector, candidates_read);
      },
      what);
  if (searched) return true;
  probe.reply.decision.reason = Reason::index_failed;
  note_failure("index", what.c_str(), "answered as a miss");
  probe.vector.clear();  // it may be the vector that is bad
  return false;
}

/// The nearest entry that may be served, and what is known of it but for the pair's score. False, with the reason, when
/// there is none or a part fails.
bool Cache::Core::read_candidates(Probe& probe, Evidence& evidence, EntryPointer& best) {
  Reason& reason = probe.reply.decision.reason;
  std::vector<Candidate> found;
  if (!search(probe, found)) return false;
  bool wrong = false, vetoed = false;
  std::size_t others = 0, agreeing = 0;
  std::string what;
  const bool read = attempt(
      [&] {
        for (const Candidate& candidate : found) {
          EntryPointer entry = options.store->get(candidate.id);
          if (!entry || !servable(*entry)) continue;
          if (options.store->is_wrong_pair(probe.key, entry->key)) {
            wrong = true;
            continue;
          }
          if (best) {
            if (others++ == 0) evidence.next_similarity = similarity_of(candidate);
            if (entry->response == best->response) ++agreeing;
            continue;
          }
          if (options.guards) {
            const GuardFlags flags = options.guards->flags(probe.prompt, entry->prompt);
            if (options.guards->veto(flags)) {
              vetoed = true;
              continue;
            }
            evidence.guards = flags.bits();
          }
          evidence.entry = candidate.id;
          evidence.similarity = similarity_of(candidate);
          best = std::move(entry);
        }
      },
      what);
  if (!read) {
    reason = Reason::store_failed;
    note_failure("store", what.c_str(), "answered as a miss");
    return false;
  }
  if (!best) {
    if (reason != Reason::store_failed) {
      reason = vetoed ? Reason::vetoed : wrong ? Reason::reported_wrong : Reason::no_candidate;
    }
    return false;
  }
  if (others > 0) evidence.agreement = static_cast<double>(agreeing) / static_cast<double>(others);
  evidence.prompt_bytes = bytes_of(probe.prompt);
  evidence.candidate_bytes = bytes_of(best->prompt);
  return true;
}

/// Asks the pair scorer, if the policy wants to know and there is time for a call as slow as the slowest of late.
void Cache::Core::score_pair(const Probe& probe, const Entry& entry, Evidence& evidence,
                             std::chrono::nanoseconds& time) {
  if (!options.pair_scorer || !options.policy->wants_pair_logit(evidence)) return;
  constexpr std::int64_t forgetting = 16;  // calls after which a slow one counts for little
  const std::int64_t slow = slow_score_;
  if (probe.deadline && Clock::now() + std::chrono::nanoseconds(slow) >= *probe.deadline) {
    ++metrics.pair_scores_skipped;
    slow_score_ = slow - slow / forgetting;
    return;
  }
  ++metrics.pair_scores;
  std::string what;
  float logit = 0;
  PairReport report;
  bool scored = false;
  std::chrono::nanoseconds took{0};
  {
    const Stopwatch watch(took);
    const TextPair pair{probe.prompt, entry.prompt};
    scored = attempt([&] { report = options.pair_scorer->score({&pair, 1}, {&logit, 1}); }, what);
  }
  time += took;
  slow_score_ = std::max<std::int64_t>(took.count(), slow - slow / forgetting);
  if (scored && !std::isfinite(logit)) {
    scored = false;
    what = "a score that is no number";
  }
  if (!scored) {
    note_failure("pair scorer", what.c_str(), "decided without it");
  } else if (report.truncated.empty()) {  // else it has not read all of the two
    evidence.pair_logit = logit;
  }
}

double Cache::Core::draw_coin() {
  const std::lock_guard lock(coin_mutex_);
  return base::uniform_share(coins_);
}

void Cache::Core::find_similar(Probe& probe) {
  Decision& decision = probe.reply.decision;
  embed(probe);
  if (probe.vector.empty()) return;
  Evidence evidence;
  EntryPointer best;
  {
    const Stopwatch watch(decision.timings.search);
    if (!read_candidates(probe, evidence, best)) return;
  }
  std::string what;
  Decision judged;
  const bool decided = attempt(
      [&] {
        score_pair(probe, *best, evidence, decision.timings.score);
        if (options.policy->audits()) evidence.coin = draw_coin();
        const Stopwatch watch(decision.timings.decide);
        judged = options.policy->decide(evidence);
      },
      what);
  if (!decided) {
    decision.reason = Reason::policy_failed;
    note_failure("policy", what.c_str(), "answered as a miss");
    return;
  }
  judged.id = decision.id;
  judged.request = decision.request;
  judged.entry = evidence.entry;
  judged.candidate = best->key;
  judged.next_similarity = evidence.next_similarity;
  judged.evidence = evidence;
  judged.timings = decision.timings;
  decision = judged;
  probe.offered = std::move(best);
}

/// The policy's last word. Said in the caller's own thread, so that a lookup which was given up meanwhile does not
/// count.
void Cache::Core::conclude(Lookup::State& ticket) {
  Probe& probe = ticket.probe;
  Decision& decision = probe.reply.decision;
  EntryPointer entry = std::move(probe.offered);
  std::string what;
  bool recorded = false;
  {
    const Stopwatch watch(decision.timings.decide);
    recorded = attempt([&] { options.policy->record(decision.evidence, decision); }, what);
  }
  if (!recorded) {
    decision.serve = false;
    decision.reason = Reason::policy_failed;
    note_failure("policy", what.c_str(), "answered as a miss");
    return;
  }
  if (decision.audit != 0) {
    ticket.audit = std::make_unique<cache::Audit>(options.policy, decision.audit, entry, probe.prompt);
  }
  if (!decision.serve) return;
  answer(probe, *entry, Outcome::semantic_hit);
  within(ticket.deadline, entry, nullptr, [](Core& core, EntryPointer& used) { core.note_use(*used); });
}

void Cache::Core::join_similar(Lookup::State& ticket) {
  cache::Probe& probe = ticket.probe;
  if (probe.vector.empty()) return;
  auto [place, found] = near_flights->enter(probe.scope, probe.key, probe.prompt, probe.vector);
  ticket.near = std::move(place);
  if (!found) return;
  Decision judged;
  std::string what;
  const bool decided = attempt(
      [&] {
        Evidence evidence;
        evidence.similarity = found->similarity;
        evidence.prompt_bytes = bytes_of(probe.prompt);
        evidence.candidate_bytes = bytes_of(found->prompt);
        if (options.guards) {
          const GuardFlags flags = options.guards->flags(probe.prompt, found->prompt);
          if (options.guards->veto(flags)) return;
          evidence.guards = flags.bits();
        }
        judged = options.policy->decide(evidence);
      },
      what);
  if (!decided) note_failure("policy", what.c_str(), "computed for itself");
  if (!judged.serve) return;
  ticket.near = nullptr;  // who waits is no leader for others
  const auto result = flights->watch(found->key, ticket.deadline);
  if (!result || result->decision.entry == 0) {
    ticket.near = near_flights->enter(probe.scope, probe.key, probe.prompt, probe.vector).first;
    return;
  }
  Reply reply = *result;
  reply.decision.similarity = found->similarity;
  reply.decision.threshold = judged.threshold;
  reply.decision.probability = judged.probability;
  reply.decision.bound = judged.bound;
  reply.decision.next_similarity = {};
  reply.decision.reason = Reason::similar;
  --metrics.misses[static_cast<std::size_t>(probe.reply.decision.reason)];  // as it was counted before
  coalesce(this, ticket, reply);
  flights->settle(*ticket.seat, std::make_shared<const Reply>(probe.reply));
}

}  // namespace promptcache
