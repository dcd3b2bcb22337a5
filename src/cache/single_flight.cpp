#include "cache/single_flight.hpp"

#include <algorithm>
#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache::cache {

void SingleFlight::run(const Callbacks& callbacks) noexcept {
  for (const std::function<void()>& callback : callbacks) {
    try {
      callback();
    } catch (...) {  // nobody up this stack has anything to do with another request's callback
    }
  }
}

SingleFlight::SeatPointer SingleFlight::join(const Digest& key) {
  auto seat = std::make_shared<Seat>();
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Flight>& flight = flights_[key];
  if (!flight) {
    flight = std::make_shared<Flight>();
    flight->key = key;
  }
  seat->flight_ = flight;
  if (flight->leader == nullptr) {
    flight->leader = seat.get();
    seat->state_ = State::leads;
  } else {
    flight->waiting.push_back(seat.get());
  }
  return seat;
}

SingleFlight::State SingleFlight::state(const Seat& seat) const {
  const std::lock_guard lock(mutex_);
  return seat.state_;
}

SingleFlight::Result SingleFlight::result(const Seat& seat) const {
  const std::lock_guard lock(mutex_);
  return seat.result_;
}

void SingleFlight::end(const std::shared_ptr<Flight>& flight, State state, const Result& result,
                       std::exception_ptr failure, Callbacks& callbacks) {
  if (flight->leader != nullptr) flight->leader->state_ = state;
  flight->leader = nullptr;
  for (Seat* seat : flight->waiting) {
    seat->state_ = state;
    seat->result_ = result;
    seat->failure_ = failure;
    if (seat->callback_) callbacks.push_back(std::exchange(seat->callback_, nullptr));
  }
  flight->waiting.clear();
  flight->changed.notify_all();
  flights_.erase(flight->key);
}

void SingleFlight::settle(Seat& leader, Result result) {
  Callbacks callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (leader.state_ == State::leads) end(leader.flight_, State::settled, result, nullptr, callbacks);
  }
  run(callbacks);
}

void SingleFlight::release(Seat& leader, std::exception_ptr failure) {
  Callbacks callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (leader.state_ == State::leads) end(leader.flight_, State::released, nullptr, failure, callbacks);
  }
  run(callbacks);
}

std::exception_ptr SingleFlight::failure(const Seat& seat) const {
  const std::lock_guard lock(mutex_);
  return seat.failure_;
}

void SingleFlight::open_stream(Seat& leader, std::shared_ptr<ResponseStream> stream) {
  const std::lock_guard lock(mutex_);
  if (leader.state_ != State::leads) return;
  leader.flight_->stream = std::move(stream);
  leader.flight_->changed.notify_all();
}

void SingleFlight::lead(Seat& seat, Callbacks& callbacks) {
  seat.flight_->stream = nullptr;  // that of the leader before
  seat.flight_->waiting.remove(&seat);
  seat.flight_->leader = &seat;
  seat.state_ = State::leads;
  if (seat.callback_) callbacks.push_back(std::exchange(seat.callback_, nullptr));
  seat.flight_->changed.notify_all();
}

void SingleFlight::forget_if_empty(const std::shared_ptr<Flight>& flight) {
  if (flight->leader == nullptr && flight->waiting.empty()) flights_.erase(flight->key);
}

void SingleFlight::leave(Seat& seat) noexcept {
  Callbacks callbacks;
  {
    const std::lock_guard lock(mutex_);
    const std::shared_ptr<Flight> flight = seat.flight_;
    if (seat.state_ == State::waits) {
      flight->waiting.remove(&seat);
      forget_if_empty(flight);
    } else if (seat.state_ == State::leads) {
      flight->leader = nullptr;
      flight->stream = nullptr;
      const auto next = std::find_if(flight->waiting.begin(), flight->waiting.end(),
                                     [](const Seat* waiting) { return waiting->attentive_; });
      if (next != flight->waiting.end()) {
        lead(**next, callbacks);
      } else {
        flight->changed.notify_all();  // those who watch
        forget_if_empty(flight);
      }
    }
    seat.state_ = State::released;
    seat.callback_ = nullptr;
  }
  run(callbacks);
}

/// Waits until the seat no longer does, or until `enough`; true for either.
template <class Enough>
bool SingleFlight::wait_until(Seat& seat, std::optional<TimePoint> deadline, Enough enough) {
  Callbacks callbacks;
  bool settled = true;
  {
    std::unique_lock lock(mutex_);
    const std::shared_ptr<Flight> flight = seat.flight_;
    if (seat.state_ == State::waits && flight->leader == nullptr) lead(seat, callbacks);
    if (!deadline && seat.state_ == State::waits && flight->leader->computing_thread_ == std::this_thread::get_id()) {
      throw Error(ErrorCode::usage, {"get_or_compute"}, "a call for the prompt that this thread is computing",
                  "a computation that does not ask the cache for itself");
    }
    seat.attentive_ = true;
    const auto ready = [&] { return seat.state_ != State::waits || enough(*flight); };
    if (deadline) {
      settled = flight->changed.wait_until(lock, *deadline, ready);
    } else {
      flight->changed.wait(lock, ready);
    }
    seat.attentive_ = static_cast<bool>(seat.callback_);
  }
  run(callbacks);
  return settled;
}

bool SingleFlight::wait(Seat& seat, std::optional<TimePoint> deadline) {
  return wait_until(seat, deadline, [](const Flight&) { return false; });
}

std::shared_ptr<ResponseStream> SingleFlight::wait_for_stream(Seat& seat, std::optional<TimePoint> deadline) {
  std::shared_ptr<ResponseStream> stream;
  wait_until(seat, deadline, [&](const Flight& flight) {
    stream = flight.stream;
    return stream != nullptr;
  });
  const std::lock_guard lock(mutex_);
  return seat.state_ == State::waits ? stream : nullptr;
}

SingleFlight::Result SingleFlight::watch(const Digest& key, std::optional<TimePoint> deadline) {
  Seat seat;
  std::unique_lock lock(mutex_);
  const auto found = flights_.find(key);
  if (found == flights_.end() || found->second->leader == nullptr) return nullptr;
  const std::shared_ptr<Flight> flight = found->second;
  seat.flight_ = flight;
  flight->waiting.push_back(&seat);
  const auto ready = [&] { return seat.state_ != State::waits || flight->leader == nullptr; };
  if (deadline) {
    flight->changed.wait_until(lock, *deadline, ready);
  } else {
    flight->changed.wait(lock, ready);
  }
  if (seat.state_ == State::waits) {
    flight->waiting.remove(&seat);
    forget_if_empty(flight);
  }
  return seat.result_;
}

void SingleFlight::on_settled(Seat& seat, std::function<void()> callback) {
  Callbacks callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (seat.state_ != State::waits) {
      callbacks.push_back(std::move(callback));
    } else {
      seat.callback_ = std::move(callback);
      seat.attentive_ = true;
      if (seat.flight_->leader == nullptr) lead(seat, callbacks);
    }
  }
  run(callbacks);
}

void SingleFlight::computes_here(Seat& leader) {
  const std::lock_guard lock(mutex_);
  leader.computing_thread_ = std::this_thread::get_id();
}

void SingleFlight::close() {
  Callbacks callbacks;
  {
    const std::lock_guard lock(mutex_);
    while (!flights_.empty()) {
      const std::shared_ptr<Flight> flight = flights_.begin()->second;
      end(flight, State::released, nullptr, nullptr, callbacks);
    }
  }
  run(callbacks);
}

}  // namespace promptcache::cache
