#pragma once

#include <mutex>
#include <shared_mutex>

namespace promptcache {

/// A shared mutex under which a stream of readers cannot keep a writer out: who comes after a waiting writer waits
/// behind it. (std::shared_mutex on Linux lets readers pass for ever.) Works with std::unique_lock, std::shared_lock
/// and std::condition_variable_any. Not recursive.
class FairSharedMutex {
 public:
  void lock() {
    const std::lock_guard turn(turnstile_);
    mutex_.lock();
  }
  void unlock() { mutex_.unlock(); }
  void lock_shared() {
    const std::lock_guard turn(turnstile_);
    mutex_.lock_shared();
  }
  void unlock_shared() { mutex_.unlock_shared(); }

 private:
  std::mutex turnstile_;  // held while waiting for the other, so that all others queue behind
  std::shared_mutex mutex_;
};

}  // namespace promptcache
