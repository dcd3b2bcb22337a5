#pragma once

#include <omp.h>

namespace promptcache::embed {

/// Sets the number of OpenMP threads that the calling thread's regions use, and puts the caller's setting back.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(int threads) : previous_(omp_get_max_threads()) {
    if (threads != previous_) omp_set_num_threads(threads);
  }
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;
  ~OpenMpThreads() { omp_set_num_threads(previous_); }

 private:
  int previous_;
};

}  // namespace promptcache::embed
