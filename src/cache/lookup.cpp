#include "promptcache/cache/lookup.hpp"

#include <utility>

#include "cache/core.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {

using SeatState = cache::SingleFlight::State;

Lookup::Lookup(std::unique_ptr<State> state) : state_(std::move(state)) {}

Lookup::Lookup(Lookup&&) noexcept = default;

Lookup& Lookup::operator=(Lookup&& other) noexcept {
  if (this != &other) {
    leave();
    state_ = std::move(other.state_);
  }
  return *this;
}

Lookup::~Lookup() { leave(); }

void Lookup::leave() noexcept {
  if (state_ && state_->seat) state_->flights->leave(*state_->seat);
  state_.reset();
}

Lookup::State& Lookup::live() const {
  if (!state_) throw Error(ErrorCode::usage, {"Lookup"}, "a ticket that was used or moved from", "a live ticket");
  return *state_;
}

/// Takes over what has become of the flight.
void Lookup::refresh() const {
  State& state = live();
  if (state.probe.hit || !state.seat || !state.waiting) return;
  const SeatState now = state.flights->state(*state.seat);
  if (now == SeatState::waits) return;
  state.waiting = false;
  const std::shared_ptr<Cache::Core> core = state.core.lock();
  if (now == SeatState::settled) {
    Cache::Core::coalesce(core.get(), state, *state.flights->result(*state.seat));
  } else if (core) {
    core->note_miss(state);
  }
}

bool Lookup::hit() const {
  refresh();
  return state_->probe.hit;
}

bool Lookup::in_flight() const {
  refresh();
  return state_->waiting;
}

bool Lookup::miss() const { return !hit() && !in_flight(); }

const Reply& Lookup::reply() const {
  if (!hit()) {
    throw Error(ErrorCode::usage, {"Lookup::reply"}, in_flight() ? "a ticket in flight" : "a miss", "a hit");
  }
  return state_->probe.reply;
}

const Decision& Lookup::decision() const {
  refresh();
  return state_->probe.reply.decision;
}

bool Lookup::wait_for(std::chrono::nanoseconds timeout) {
  State& state = live();
  if (state.waiting) state.flights->wait(*state.seat, std::chrono::steady_clock::now() + timeout);
  return !in_flight();
}

void Lookup::wait() {
  State& state = live();
  if (state.waiting) state.flights->wait(*state.seat, std::nullopt);
  refresh();
}

/// Waits as long as the request allows; then it is a miss of its own.
void Lookup::wait_or_give_up() {
  State& state = live();
  if (!state.deadline) return wait();
  if (state.flights->wait(*state.seat, state.deadline)) return refresh();
  state.flights->leave(*state.seat);
  state.seat = nullptr;
  state.waiting = false;
  state.probe.reply.decision.reason = Reason::timed_out;
  if (const std::shared_ptr<Cache::Core> core = state.core.lock()) {
    ++core->metrics.timeouts;
    core->note_miss(state);
  }
}

void Lookup::on_settled(std::function<void()> callback) {
  State& state = live();
  if (state.seat) {
    state.flights->on_settled(*state.seat, std::move(callback));
  } else {
    callback();
  }
}

std::optional<EntryId> Lookup::insert(Response response) {
  Lookup own = std::move(*this);  // spent, whatever happens
  const auto refuse = [](ErrorCode code, const char* found) {
    throw Error(code, {"insert"}, found, "the ticket of a miss, once, while its cache lives");
  };
  if (own.hit()) refuse(ErrorCode::usage, "the ticket of a hit");
  if (own.in_flight()) refuse(ErrorCode::usage, "a ticket still in flight");
  const std::shared_ptr<Cache::Core> core = own.state_->core.lock();
  if (!core) refuse(ErrorCode::closed, "the ticket of a cache that is gone");
  return core->insert(*own.state_, std::move(response));
}

}  // namespace promptcache
