#include "promptcache/cache/cache.hpp"

#include <utility>

#include "cache/core.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {

const char* to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::exact_hit: return "exact_hit";
    case Outcome::semantic_hit: return "semantic_hit";
    case Outcome::coalesced: return "coalesced";
    case Outcome::miss: return "miss";
  }
  return "unknown";
}

Cache::Cache(CacheOptions options) : core_(std::make_shared<Core>(std::move(options))) {}

Cache::~Cache() { core_->flights->close(); }

Lookup Cache::lookup(const Request& request) {
  auto state = std::make_unique<Lookup::State>();
  state->core = core_;
  state->scope = request.scope.digest();
  {
    const auto start = std::chrono::steady_clock::now();
    state->key = request_key(request.scope, request.prompt);
    state->reply.decision.timings.exact = std::chrono::steady_clock::now() - start;
  }
  state->prompt = request.prompt;
  Lookup ticket(std::move(state));  // gives up its seat should anything below throw
  core_->look_up(*ticket.state_);
  return ticket;
}

Lookup Cache::lookup_for_compute(const Request& request) {
  Lookup ticket = lookup(request);
  if (ticket.in_flight()) ticket.wait();
  if (!ticket.hit() && ticket.state_->seat) core_->flights->computes_here(*ticket.state_->seat);
  return ticket;
}

std::optional<EntryId> Cache::insert(Lookup&& ticket, Response response) {
  Lookup own = std::move(ticket);  // spent, whatever happens
  const std::shared_ptr<Core> core = own.live().core.lock();
  if (core && core != core_) {
    throw Error(ErrorCode::usage, {"Cache::insert"}, "the ticket of another cache", "one of its own");
  }
  return own.insert(std::move(response));
}

bool Cache::report(DecisionId decision, Feedback feedback) { return core_->report(decision, feedback); }

CacheStats Cache::stats() const { return core_->stats(); }

}  // namespace promptcache
