#include "cache/audits.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace promptcache::cache {

Audit::Audit(std::shared_ptr<CachePolicy> policy, std::uint64_t name, EntryStore::EntryPointer entry,
             std::string prompt)
    : policy_(std::move(policy)), name_(name), entry_(std::move(entry)), prompt_(std::move(prompt)) {}

void Audit::computed(std::string response) {
  response_ = std::move(response);
  computed_ = true;
}

void Audit::tell(Verdict verdict) noexcept {
  if (std::exchange(told_, true)) return;
  try {
    policy_->judged(name_, verdict);
  } catch (...) {  // a verdict that is lost counts as wrong
  }
}

struct AuditQueue::State {
  explicit State(std::shared_ptr<const Judge> asked) : judge(std::move(asked)) {}

  const std::shared_ptr<const Judge> judge;
  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::deque<std::unique_ptr<Audit>> waiting;
  bool started = false, asking = false, closed = false;

  bool idle() const { return waiting.empty() && !asking; }

  static void work(const std::shared_ptr<State>& state) {
    std::unique_lock lock(state->mutex);
    while (true) {
      state->changed.wait(lock, [&] { return state->closed || !state->waiting.empty(); });
      if (state->waiting.empty()) return;
      std::unique_ptr<Audit> audit = std::move(state->waiting.front());
      state->waiting.pop_front();
      state->asking = true;
      lock.unlock();
      audit->judge(*state->judge);
      audit.reset();
      lock.lock();
      state->asking = false;
      state->changed.notify_all();
    }
  }
};

AuditQueue::AuditQueue(std::shared_ptr<const Judge> judge) : state_(std::make_shared<State>(std::move(judge))) {}

AuditQueue::~AuditQueue() { close(std::chrono::milliseconds(0)); }

void AuditQueue::add(std::unique_ptr<Audit> audit) {
  const std::lock_guard lock(state_->mutex);
  if (state_->closed || state_->waiting.size() >= most) return;  // dropped, behind the lock's end
  if (!state_->started) {
    std::thread([state = state_] { State::work(state); }).detach();
    state_->started = true;
  }
  state_->waiting.push_back(std::move(audit));
  state_->changed.notify_all();
}

void AuditQueue::wait() const {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->idle(); });
}

void AuditQueue::close(std::chrono::milliseconds wait) {
  std::deque<std::unique_ptr<Audit>> dropped;  // told without the lock
  {
    std::unique_lock lock(state_->mutex);
    state_->closed = true;
    dropped.swap(state_->waiting);
    state_->changed.notify_all();
    state_->changed.wait_for(lock, wait, [&] { return state_->idle(); });
  }
}

}  // namespace promptcache::cache
