#include "promptcache/cache/cache.hpp"

#include <exception>
#include <utility>

#include "cache/core.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {

Cache::Cache(CacheOptions options) : core_(std::make_shared<Core>(std::move(options))) { core_->start(); }

Cache::~Cache() { core_->close(); }

Lookup Cache::lookup(const Request& request) {
  const auto start = std::chrono::steady_clock::now();
  auto state = std::make_unique<Lookup::State>();
  state->core = core_;
  state->fields = request.scope.fields();
  state->timeout = request.timeout;
  state->probe.scope = core_->stored_scope(request.scope);
  state->probe.key = core_->stored_key(state->probe.scope, request.prompt);
  state->probe.prompt = request.prompt;
  Lookup ticket(std::move(state));  // gives up its seat should anything below throw
  core_->look_up(*ticket.state_, start);
  return ticket;
}

Lookup Cache::lookup_for_compute(const Request& request) {
  Lookup ticket = lookup(request);
  if (ticket.in_flight()) ticket.wait_or_give_up();
  if (ticket.hit() || !ticket.state_->seat) return ticket;
  Lookup::State& state = *ticket.state_;
  if (const std::exception_ptr failure = core_->flights->failure(*state.seat)) std::rethrow_exception(failure);
  core_->flights->computes_here(*state.seat);
  if (core_->options.coalesce_similar) core_->join_similar(state);
  return ticket;
}

void Cache::share_failure(const Lookup& ticket) const {
  if (core_->options.leader_failure != LeaderFailure::share || !ticket.state_->seat) return;
  core_->flights->release(*ticket.state_->seat, std::current_exception());
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
bool Cache::report(std::string_view token, Feedback feedback) { return core_->report(token, feedback); }
std::string Cache::token(const Decision& decision) const { return core_->token(decision); }

std::size_t Cache::invalidate(const Invalidation& which, bool dry_run) { return core_->invalidate(which, dry_run); }

CacheStats Cache::stats() const { return core_->stats(); }

void Cache::wait_for_re_embedding() const { core_->wait_for_re_embedding(); }

void Cache::wait_for_verdicts() const { core_->audits.wait(); }

}  // namespace promptcache
