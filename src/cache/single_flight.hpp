#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cache/response_stream.hpp"
#include "promptcache/base/digest.hpp"
#include "promptcache/cache/request.hpp"

namespace promptcache::cache {

/// One computation at a time for each key. Everybody who wants a key takes a seat in its flight: the first leads, the
/// others wait. The leader settles the flight with a result, releases it (each on its own), or leaves, and then one who
/// is attentive (blocked in a wait, or with a callback) is elected. A flight nobody attentive is left in keeps waiting
/// seats without a leader; whoever comes or waits next leads. Thread-safe.
class SingleFlight {
 public:
  enum class State : std::uint8_t { leads, waits, settled, released };

  class Seat;
  using SeatPointer = std::shared_ptr<Seat>;
  using Result = std::shared_ptr<const Reply>;
  using TimePoint = std::chrono::steady_clock::time_point;

  SeatPointer join(const Digest& key);

  State state(const Seat& seat) const;
  Result result(const Seat& seat) const;  ///< null unless settled

  void settle(Seat& leader, Result result);
  void release(Seat& leader, std::exception_ptr failure = nullptr);

  /// Of a released seat: what the leader's computation threw, where that is shared.
  std::exception_ptr failure(const Seat& seat) const;

  /// Lets those who wait follow a response while it arrives.
  void open_stream(Seat& leader, std::shared_ptr<ResponseStream> stream);

  /// Waits like `wait`, but also until the leader opens a stream. Null when the seat no longer waits, or at the
  /// deadline.
  std::shared_ptr<ResponseStream> wait_for_stream(Seat& seat, std::optional<TimePoint> deadline);

  /// Waits for the result of another's flight without a claim to lead it. Null when there is no such flight, when it
  /// ends without a result, or at the deadline.
  Result watch(const Digest& key, std::optional<TimePoint> deadline);
  void leave(Seat& seat) noexcept;  ///< of any state; more than once is fine

  /// True when the seat no longer waits. Without a deadline the wait is endless; a thread that would then wait for
  /// itself (see `computes_here`) gets `Error(usage)`.
  bool wait(Seat& seat, std::optional<TimePoint> deadline);
  void on_settled(Seat& seat, std::function<void()> callback);
  void computes_here(Seat& leader);  ///< this thread leads, and can wait for nothing else

  void close();  ///< releases everybody

 private:
  struct Flight;
  using Callbacks = std::vector<std::function<void()>>;

  static void run(const Callbacks& callbacks) noexcept;
  template <class Enough>
  bool wait_until(Seat& seat, std::optional<TimePoint> deadline, Enough enough);
  void end(const std::shared_ptr<Flight>& flight, State state, const Result& result, std::exception_ptr failure,
           Callbacks& callbacks);
  void lead(Seat& seat, Callbacks& callbacks);
  void forget_if_empty(const std::shared_ptr<Flight>& flight);

  mutable std::mutex mutex_;  // of all flights and seats; no callback runs under it
  std::unordered_map<Digest, std::shared_ptr<Flight>> flights_;
};

struct SingleFlight::Flight {
  Digest key;
  Seat* leader = nullptr;
  std::list<Seat*> waiting;                // the first comer first
  std::shared_ptr<ResponseStream> stream;  // of the leader
  std::condition_variable changed;
};

class SingleFlight::Seat {
  friend class SingleFlight;
  std::shared_ptr<Flight> flight_;
  State state_ = State::waits;
  Result result_;
  std::exception_ptr failure_;
  bool attentive_ = false;
  std::function<void()> callback_;
  std::thread::id computing_thread_;
};

}  // namespace promptcache::cache
