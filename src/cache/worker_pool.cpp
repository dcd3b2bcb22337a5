#include "cache/worker_pool.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace promptcache::cache {
namespace {

struct Task {
  std::function<void()> job;
  bool started = false;
  bool finished = false;
  bool abandoned = false;
  std::condition_variable done;
};

}  // namespace

struct WorkerPool::State {
  explicit State(std::size_t limit) : workers(limit) {}

  const std::size_t workers;
  std::mutex mutex;  // of all that follows; not held while a job runs
  std::condition_variable arrived, ended;
  std::deque<std::shared_ptr<Task>> waiting;
  std::size_t threads = 0;
  std::size_t running = 0;
  std::size_t stuck = 0;
  bool closing = false;
};

WorkerPool::WorkerPool(std::size_t workers) : state_(std::make_shared<State>(workers)) {}

WorkerPool::~WorkerPool() { close(std::chrono::milliseconds(0)); }

void WorkerPool::work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->arrived.wait(lock, [&] { return state->closing || !state->waiting.empty(); });
    if (state->closing) break;
    const std::shared_ptr<Task> task = std::move(state->waiting.front());
    state->waiting.pop_front();
    task->started = true;
    ++state->running;
    lock.unlock();
    task->job();
    task->job = nullptr;  // what it owns may be the last of the cache, and must not go under the lock
    lock.lock();
    --state->running;
    task->finished = true;
    if (task->abandoned) --state->stuck;
    task->done.notify_all();
    state->ended.notify_all();
  }
  --state->threads;
}

WorkerPool::Result WorkerPool::run(std::function<void()> job, TimePoint deadline) {
  const auto task = std::make_shared<Task>();
  task->job = std::move(job);
  std::unique_lock lock(state_->mutex);
  if (state_->closing || state_->stuck >= state_->workers) return Result::rejected;
  state_->waiting.push_back(task);
  if (state_->running + state_->waiting.size() > state_->threads && state_->threads < state_->workers) {
    try {
      std::thread(work, state_).detach();
      ++state_->threads;
    } catch (...) {  // the system has no more: the others get to it, or the deadline does
    }
  }
  state_->arrived.notify_one();
  if (task->done.wait_until(lock, deadline, [&] { return task->finished; })) return Result::done;
  if (task->started) {
    task->abandoned = true;
    ++state_->stuck;
  } else {
    std::erase(state_->waiting, task);
    task->job = nullptr;
  }
  return Result::timed_out;
}

void WorkerPool::close(std::chrono::milliseconds wait) {
  std::unique_lock lock(state_->mutex);
  state_->closing = true;
  state_->arrived.notify_all();
  state_->ended.wait_for(lock, wait, [&] { return state_->running == 0; });
}

std::size_t WorkerPool::stuck() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stuck;
}

}  // namespace promptcache::cache
