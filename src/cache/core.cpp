#include "cache/core.hpp"

#include <exception>
#include <utility>

#include "promptcache/base/error.hpp"
#include "promptcache/index/hnsw_index.hpp"
#include "promptcache/store/memory_store.hpp"

namespace promptcache {
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

CacheOptions with_defaults(CacheOptions options) {
  const auto require = [](bool good, const char* place, const char* wanted) {
    if (!good) throw Error(ErrorCode::usage, {place}, "none", wanted);
  };
  require(options.embedder != nullptr, "CacheOptions.embedder", "an embedder");
  require(options.policy != nullptr, "CacheOptions.policy", "a policy");
  if (!options.store) options.store = std::make_shared<MemoryStore>();
  if (!options.make_index) {
    options.make_index = [](std::size_t dimension) { return std::make_unique<HnswIndex>(dimension); };
  }
  return options;
}

/// What a failing part of the caller's or of ours may throw, as text.
template <class Action>
bool attempt(Action&& action, std::string& what) {
  try {
    action();
    return true;
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
    what = "an exception of unknown type";
  }
  return false;
}

}  // namespace

Cache::Core::Core(CacheOptions given)
    : options(with_defaults(std::move(given))),
      embedder_identity(options.embedder->identity()),
      dimension(options.embedder->dimension()),
      indexes(options.make_index, dimension),
      decisions(options.remembered_decisions) {
  index_stored_entries();
}

void Cache::Core::index_stored_entries() {
  options.store->for_each([&](const EntryPointer& entry) {
    if (entry->vector.size() == dimension && entry->embedder == embedder_identity) {
      indexes.find_or_make(entry->scope)->add(entry->id, entry->vector);
    }
  });
}

void Cache::Core::note_failure(const char* part, const char* what, const char* consequence) {
  ++counters.failures;
  if (!options.log) return;
  try {
    options.log(LogLevel::warning, std::string(part) + " failed: " + what + "; " + consequence);
  } catch (...) {  // a log that fails must not turn a miss into an exception
  }
}

void Cache::Core::look_up(Lookup::State& ticket) {
  ++counters.lookups;
  Decision& decision = ticket.reply.decision;
  decision.id = decisions.next();
  if (find_exact(ticket)) return;
  ticket.flights = flights;
  ticket.seat = flights->join(ticket.key);
  if (flights->state(*ticket.seat) != cache::SingleFlight::State::leads) {
    if (decision.reason != Reason::store_failed) decision.reason = Reason::in_flight;
    ticket.waiting = true;
    return;
  }
  // A flight may have landed between the two steps above: its response is stored by now.
  if (find_exact(ticket) || find_similar(ticket)) {
    flights->settle(*ticket.seat, std::make_shared<const Reply>(ticket.reply));
    return;
  }
  ++counters.misses;
}

bool Cache::Core::find_exact(Lookup::State& ticket) {
  const Stopwatch watch(ticket.reply.decision.timings.exact);
  EntryPointer entry;
  std::string what;
  if (!attempt([&] { entry = options.store->find(ticket.key); }, what)) {
    ticket.reply.decision.reason = Reason::store_failed;
    note_failure("store", what.c_str(), "not looked up");
    return false;
  }
  if (!entry) return false;
  Decision& decision = ticket.reply.decision;
  decision.serve = true;
  decision.similarity = 1;
  decision.reason = Reason::exact_match;
  serve(ticket, entry, Outcome::exact_hit, {entry->id, 1.0, {}});
  return true;
}

void Cache::Core::serve(Lookup::State& ticket, const EntryPointer& entry, Outcome outcome, const Evidence& evidence) {
  ticket.hit = true;
  ticket.reply.outcome = outcome;
  ticket.reply.response = entry->response;
  ticket.reply.decision.entry = entry->id;
  ++(outcome == Outcome::exact_hit ? counters.exact_hits : counters.semantic_hits);
  decisions.keep(ticket.reply.decision.id, {evidence, outcome == Outcome::semantic_hit});
  std::string what;
  if (!attempt([&] { options.store->touch(entry->id); }, what)) note_failure("store", what.c_str(), "use not noted");
}

/// Fills the ticket's vector; false with a reason when the prompt takes part in exact matches only.
bool Cache::Core::embed(Lookup::State& ticket, Reason& reason) {
  const Stopwatch watch(ticket.reply.decision.timings.embed);
  ticket.embedded = true;
  if (ticket.prompt.empty()) {
    reason = Reason::unrepresented;
    return false;
  }
  std::vector<float> vector(dimension);
  EmbedReport report;
  std::string what;
  const std::string_view text = ticket.prompt;
  if (!attempt([&] { report = options.embedder->embed({&text, 1}, vector); }, what)) {
    reason = Reason::embedder_failed;
    note_failure("embedder", what.c_str(), "exact matches only");
    return false;
  }
  if (!report.truncated.empty() || !report.unrepresented.empty()) {
    reason = report.truncated.empty() ? Reason::unrepresented : Reason::truncated;
    return false;
  }
  ticket.vector = std::move(vector);
  return true;
}

bool Cache::Core::find_similar(Lookup::State& ticket) {
  Decision& decision = ticket.reply.decision;
  if (!embed(ticket, decision.reason)) return false;
  constexpr std::size_t wanted = 4;  // the nearest may have been evicted a moment ago
  std::vector<Candidate> candidates;
  std::vector<EntryPointer> entries;
  std::string what;
  {
    const Stopwatch watch(decision.timings.search);
    const bool searched = attempt(
        [&] {
          if (const auto index = indexes.find(ticket.scope)) candidates = index->search(ticket.vector, wanted);
        },
        what);
    if (!searched) {
      decision.reason = Reason::index_failed;
      note_failure("index", what.c_str(), "answered as a miss");
      ticket.vector.clear();  // it may be the vector that is bad
      return false;
    }
    const bool read = attempt(
        [&] {
          for (Candidate& candidate : candidates) {
            if (EntryPointer entry = options.store->get(candidate.id)) {
              candidates[entries.size()] = candidate;
              entries.push_back(std::move(entry));
            }
          }
        },
        what);
    if (!read) {
      decision.reason = Reason::store_failed;
      note_failure("store", what.c_str(), "answered as a miss");
      return false;
    }
  }
  if (entries.empty()) {
    if (decision.reason != Reason::store_failed) decision.reason = Reason::no_candidate;
    return false;
  }
  Evidence evidence{candidates[0].id, static_cast<double>(candidates[0].similarity), {}};
  if (entries.size() > 1) evidence.next_similarity = static_cast<double>(candidates[1].similarity);
  {
    const Stopwatch watch(decision.timings.decide);
    const bool decided = attempt(
        [&] {
          Decision judged = options.policy->decide(evidence);
          judged.id = decision.id;
          judged.entry = evidence.entry;
          judged.timings = decision.timings;
          decision = judged;
        },
        what);
    if (!decided) {
      decision.reason = Reason::policy_failed;
      note_failure("policy", what.c_str(), "answered as a miss");
      return false;
    }
  }
  if (decision.serve) serve(ticket, entries[0], Outcome::semantic_hit, evidence);
  return decision.serve;
}

void Cache::Core::coalesce(Core* core, Lookup::State& ticket, const Reply& result) {
  Decision& own = ticket.reply.decision;
  Decision decision = result.decision;
  decision.id = own.id;
  decision.timings = own.timings;
  own = decision;
  ticket.reply.response = result.response;
  ticket.reply.outcome = Outcome::coalesced;
  ticket.hit = true;
  if (core == nullptr) return;
  ++core->counters.coalesced;
  if (decision.entry != 0) {
    core->decisions.keep(decision.id, {{decision.entry, decision.similarity, {}}, decision.reason == Reason::similar});
  }
}

void Cache::Core::add_to_index(const Entry& entry) {
  indexes.find_or_make(entry.scope)->add(entry.id, entry.vector);
  // Evicted between being stored and being indexed, it would stay in the index for ever.
  if (!options.store->get(entry.id)) indexes.remove(entry.scope, entry.id);
}

void Cache::Core::remove(const EntryPointer& entry) {
  std::string what;
  if (!attempt([&] { indexes.remove(entry->scope, entry->id); }, what)) {
    note_failure("index", what.c_str(), "a removed entry stays in it, and is not served");
  }
}

std::optional<EntryId> Cache::Core::insert(Lookup::State& ticket, Response response) {
  if (!response.cacheable) {
    flights->release(*ticket.seat);
    return std::nullopt;
  }
  Reason reason = Reason::no_candidate;
  if (!ticket.embedded) embed(ticket, reason);  // elected after another led
  Entry entry;
  entry.key = ticket.key;
  entry.scope = ticket.scope;
  entry.prompt = std::move(ticket.prompt);
  entry.response = response.text;
  entry.cost = response.cost;
  entry.tags = std::move(response.tags);
  entry.created = std::chrono::system_clock::now();
  entry.embedder = embedder_identity;
  entry.vector = ticket.vector;

  std::optional<EntryId> stored;
  std::string what;
  EntryStore::PutResult result;
  if (attempt([&] { result = options.store->put(std::move(entry)); }, what)) {
    stored = result.id;
    ++counters.inserts;
    for (const EntryPointer& removed : result.removed) {
      if (removed->key != ticket.key) ++counters.evictions;
      remove(removed);
    }
    if (!ticket.vector.empty()) {
      Entry place;
      place.id = result.id;
      place.scope = ticket.scope;
      place.vector = std::move(ticket.vector);
      if (!attempt([&] { add_to_index(place); }, what)) {
        note_failure("index", what.c_str(), "the entry takes part in exact matches only");
      }
    }
  } else {
    note_failure("store", what.c_str(), "the response is not stored");
  }

  Reply shared;
  shared.response = std::move(response.text);
  shared.outcome = Outcome::coalesced;
  shared.decision.serve = true;
  shared.decision.entry = stored.value_or(0);
  shared.decision.similarity = 1;
  shared.decision.reason = Reason::exact_match;
  flights->settle(*ticket.seat, std::make_shared<const Reply>(std::move(shared)));
  return stored;
}

bool Cache::Core::report(DecisionId id, Feedback feedback) {
  const std::optional<cache::DecisionLog::Record> record = decisions.take(id);
  if (!record) return false;
  std::string what;
  if (feedback == Feedback::wrong) {
    ++counters.wrong_hits;
    EntryPointer entry;
    if (!attempt([&] { entry = options.store->erase(record->evidence.entry); }, what)) {
      note_failure("store", what.c_str(), "a wrong entry stays");
    }
    if (entry) remove(entry);
  }
  if (record->by_similarity) {
    const bool told = attempt([&] { options.policy->observe(record->evidence, feedback == Feedback::right); }, what);
    if (!told) note_failure("policy", what.c_str(), "feedback lost");
  }
  return true;
}

CacheStats Cache::Core::stats() const {
  CacheStats stats;
  stats.lookups = counters.lookups;
  stats.exact_hits = counters.exact_hits;
  stats.semantic_hits = counters.semantic_hits;
  stats.coalesced = counters.coalesced;
  stats.misses = counters.misses;
  stats.inserts = counters.inserts;
  stats.evictions = counters.evictions;
  stats.failures = counters.failures;
  stats.wrong_hits = counters.wrong_hits;
  stats.entries = options.store->size();
  stats.scopes = indexes.size();
  return stats;
}

}  // namespace promptcache
