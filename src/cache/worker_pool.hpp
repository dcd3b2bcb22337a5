#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

namespace promptcache::cache {

/// Threads that run calls which may hang, so that the caller need not. A call that is still running at its deadline is
/// left to itself; when as many as there are threads hang, further ones are refused at once until one returns. Threads
/// are started when they are needed. Thread-safe.
class WorkerPool {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class Result : std::uint8_t { done, timed_out, rejected };

  explicit WorkerPool(std::size_t workers);
  ~WorkerPool();  ///< does not wait

  /// Runs `job`, which must not throw and must own what it touches: it may outlive the caller and the pool.
  Result run(std::function<void()> job, TimePoint deadline);

  /// Refuses everything from now on; waits until nothing runs, for so long at most.
  void close(std::chrono::milliseconds wait);

  std::size_t stuck() const;

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;
};

}  // namespace promptcache::cache
