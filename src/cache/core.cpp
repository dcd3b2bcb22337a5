#include "cache/core.hpp"

#include <algorithm>
#include <utility>

#include "cache/attempt.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/index/hnsw_index.hpp"
#include "promptcache/store/memory_store.hpp"
#include "store/table.hpp"

namespace promptcache {

using cache::attempt;
using cache::Probe;

namespace {

using Clock = std::chrono::steady_clock;

CacheOptions with_defaults(CacheOptions options) {
  const auto require = [](bool good, const char* place, const char* found, const char* wanted) {
    if (!good) throw Error(ErrorCode::usage, {place}, found, wanted);
  };
  require(options.embedder != nullptr, "CacheOptions.embedder", "none", "an embedder");
  require(options.policy != nullptr, "CacheOptions.policy", "none", "a policy");
  const CachePolicy& policy = *options.policy;
  require(options.guards != nullptr || !policy.wants_guards(), "CacheOptions.guards", "none",
          "guards, since the policy weighs what they find");
  require(options.judge != nullptr || !policy.audits(), "CacheOptions.judge", "none",
          "a judge of responses, since the policy audits");
  require(options.max_stuck > 0, "CacheOptions.max_stuck", "0", "at least 1");
  if (!options.store) options.store = std::make_shared<MemoryStore>();
  if (!options.make_index) {
    options.make_index = [](std::size_t dimension) { return std::make_unique<HnswIndex>(dimension); };
  }
  if (!options.clock) options.clock = [] { return std::chrono::system_clock::now(); };
  return options;
}

cache::DecisionLog::Record log_record(const Decision& decision, std::uint64_t instance) {
  return {instance,
          decision.id,
          decision.evidence.entry != 0 ? decision.evidence
                                       : Evidence{decision.entry, decision.similarity, decision.next_similarity},
          decision.reason == Reason::similar,
          decision.request,
          decision.candidate};
}

}  // namespace

Cache::Core::Core(CacheOptions given)
    : options(with_defaults(std::move(given))),
      embedder_identity(options.embedder->identity()),
      dimension(options.embedder->dimension()),
      instance(store::random_instance()),
      indexes(options.make_index, dimension),
      decisions(options.remembered_decisions),
      workers(options.max_stuck),
      audits(options.judge),
      coins_(store::random_instance()) {}

void Cache::Core::close() {
  const auto deadline = Clock::now() + options.closing_wait;
  flights->close();
  {
    std::unique_lock lock(background_mutex_);
    closing_ = true;
    background_changed_.notify_all();
    background_changed_.wait_until(lock, deadline, [&] { return !re_embedding_; });
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  workers.close(std::max(left, std::chrono::milliseconds(0)));
  const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  audits.close(std::max(rest, std::chrono::milliseconds(0)));
}

Digest Cache::Core::stored_scope(const ScopeId& scope) const {
  return options.secret.empty() ? scope.digest() : hmac_sha256(options.secret, scope.digest().view());
}

Digest Cache::Core::stored_key(const Digest& scope, std::string_view prompt) const {
  const Digest key = request_key(scope, prompt, embedder_identity);
  return options.secret.empty() ? key : hmac_sha256(options.secret, key.view());
}

void Cache::Core::note_failure(const char* part, const char* what, const char* consequence) {
  ++metrics.failures;
  if (!options.log) return;
  try {
    options.log(LogLevel::warning, std::string(part) + " failed: " + what + "; " + consequence);
  } catch (...) {  // a log that fails must not turn a miss into an exception
  }
}

void Cache::Core::look_up(Lookup::State& ticket, TimePoint start) {
  ++metrics.lookups;
  Decision& decision = ticket.probe.reply.decision;
  decision.id = decisions.next();
  decision.request = ticket.probe.key;
  ticket.invalidations = invalidations.count();
  if (ticket.timeout) ticket.deadline = start + *ticket.timeout;
  const std::optional<TimePoint> deadline = ticket.deadline;
  ticket.probe.deadline = deadline;

  within(deadline, ticket.probe, &decision.reason, [](Core& core, Probe& probe) { core.find_exact(probe); });
  auto end = Clock::now();
  decision.timings.exact = end - start;
  if (!ticket.probe.hit) {
    ticket.started = options.clock();
    ticket.flights = flights;
    ticket.seat = flights->join(ticket.probe.key);
    if (flights->state(*ticket.seat) != cache::SingleFlight::State::leads) {
      if (decision.reason == Reason::no_candidate) decision.reason = Reason::in_flight;
      ticket.waiting = true;
      return;
    }
    if (decision.reason != Reason::timed_out && decision.reason != Reason::overloaded) {
      // A flight may have landed between the two steps above: its response is stored by now.
      within(deadline, ticket.probe, &decision.reason, [](Core& core, Probe& probe) {
        core.find_exact(probe);
        if (!probe.hit) core.find_similar(probe);
      });
      if (ticket.probe.offered) conclude(ticket);
    }
    end = Clock::now();
  }
  metrics.lookup.add(end - start);
  metrics.time(decision.timings);
  if (!ticket.probe.hit) return note_miss(ticket);
  accept(ticket);
  if (ticket.seat) flights->settle(*ticket.seat, std::make_shared<const Reply>(ticket.probe.reply));
}

/// Counts a hit and keeps what is needed to judge it.
void Cache::Core::accept(Lookup::State& ticket) {
  ++(ticket.probe.reply.outcome == Outcome::exact_hit ? metrics.exact_hits : metrics.semantic_hits);
  decisions.keep(log_record(ticket.probe.reply.decision, instance));
  record(ticket);
}

void Cache::Core::note_miss(const Lookup::State& ticket) {
  metrics.count_miss(ticket.probe.reply.decision.reason);
  record(ticket);
}

void Cache::Core::record(const Lookup::State& ticket) const {
  if (!options.on_decision) return;
  try {
    options.on_decision({options.clock(), ticket.probe.reply.outcome, ticket.probe.scope, ticket.probe.reply.decision});
  } catch (...) {  // who listens must not turn a reply into an exception
  }
}

/// False for an entry whose time is over; it is removed then.
bool Cache::Core::servable(const Entry& entry) {
  if (entry.expires == Entry::TimePoint::max() && !options.max_age) return true;
  const Entry::TimePoint now = options.clock();
  const bool too_old = options.max_age && entry.created + *options.max_age <= now;
  if (entry.expires > now && !too_old) return true;
  std::string what;
  std::vector<EntryPointer> removed;
  if (!attempt([&] { removed = options.store->erase({entry.id}); }, what)) {
    note_failure("store", what.c_str(), "an expired entry stays, and is not served");
  }
  for (const EntryPointer& each : removed) drop(each);
  metrics.expirations += removed.size();
  return false;
}

void Cache::Core::find_exact(Probe& probe) {
  EntryPointer entry;
  std::string what;
  if (!attempt([&] { entry = options.store->find(probe.key); }, what)) {
    probe.reply.decision.reason = Reason::store_failed;
    note_failure("store", what.c_str(), "not looked up");
    return;
  }
  if (!entry || !servable(*entry)) return;
  Decision& decision = probe.reply.decision;
  decision.serve = true;
  decision.similarity = 1;
  decision.reason = Reason::exact_match;
  answer(probe, *entry, Outcome::exact_hit);
  note_use(*entry);
}

void Cache::Core::answer(Probe& probe, const Entry& entry, Outcome outcome) {
  probe.hit = true;
  probe.reply.outcome = outcome;
  probe.reply.response = entry.response;
  probe.reply.chunks = entry.chunks;
  probe.reply.decision.entry = entry.id;
  probe.reply.decision.candidate = entry.key;
}

void Cache::Core::note_use(const Entry& entry) {
  std::string what;
  const bool noted = attempt(
      [&] {
        options.store->touch(entry.id);
        if (!options.extend_on_hit || entry.lifetime.count() == 0) return;
        Entry::TimePoint expires = options.clock() + entry.lifetime;
        if (options.max_age) expires = std::min(expires, entry.created + *options.max_age);
        options.store->extend(entry.id, expires);
      },
      what);
  if (!noted) note_failure("store", what.c_str(), "use not noted");
}

void Cache::Core::coalesce(Core* core, Lookup::State& ticket, const Reply& result) {
  Reply& reply = ticket.probe.reply;
  const Decision own = reply.decision;
  reply = result;
  reply.decision.id = own.id;
  reply.decision.request = own.request;
  reply.decision.timings = own.timings;
  reply.outcome = Outcome::coalesced;
  ticket.probe.hit = true;
  if (core == nullptr) return;
  ++core->metrics.coalesced;
  if (reply.decision.entry != 0) core->decisions.keep(log_record(reply.decision, core->instance));
  core->record(ticket);
}

bool Cache::Core::report(DecisionId id, Feedback feedback) {
  const std::optional<cache::DecisionLog::Record> record = decisions.find(id);
  return record && judge(*record, feedback);
}

bool Cache::Core::judge(const cache::DecisionLog::Record& record, Feedback feedback) {
  if (!decisions.judge_once(record.cache, record.id)) return false;
  std::string what;
  if (feedback == Feedback::wrong) {
    ++metrics.wrong_hits;
    std::vector<EntryPointer> removed;
    if (!attempt([&] { removed = options.store->erase({record.evidence.entry}); }, what)) {
      note_failure("store", what.c_str(), "a wrong entry stays");
    }
    for (const EntryPointer& entry : removed) drop(entry);
    if (record.by_similarity &&
        !attempt([&] { options.store->add_wrong_pair(record.request, record.candidate); }, what)) {
      note_failure("store", what.c_str(), "a wrong pair is not remembered");
    }
  }
  if (record.by_similarity) {
    const bool told = attempt([&] { options.policy->observe(record.evidence, feedback == Feedback::right); }, what);
    if (!told) note_failure("policy", what.c_str(), "feedback lost");
  }
  return true;
}

CacheStats Cache::Core::stats() const {
  CacheStats stats = metrics.read();
  stats.stuck = workers.stuck();
  stats.entries = options.store->size();
  stats.bytes = options.store->bytes();
  stats.scopes = indexes.size();
  const std::lock_guard lock(background_mutex_);
  stats.to_re_embed = to_re_embed_.size();
  return stats;
}

}  // namespace promptcache
