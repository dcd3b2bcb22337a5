#pragma once

#include <mutex>

namespace promptcache {

/// A mutex for what is held well under a microsecond: who finds it locked looks again for a while before sleeping,
/// since a sleep and the way back take longer than that. Works with std::lock_guard and std::unique_lock.
class BriefMutex {
 public:
  void lock() {
    for (int i = 0; i < 100; ++i) {
      if (mutex_.try_lock()) return;
      pause();
    }
    mutex_.lock();
  }
  bool try_lock() { return mutex_.try_lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }

  std::mutex mutex_;
};

}  // namespace promptcache
