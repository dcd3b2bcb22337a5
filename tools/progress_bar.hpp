#pragma once

#include <chrono>
#include <string>

#include "promptcache/base/progress.hpp"

namespace tool {

/// Draws `Progress` on standard error: one line redrawn, with rate and time left, on a terminal; a plain line every few
/// seconds in a log. The terminal's line is ended when the stage is done. Not thread-safe.
class ProgressBar {
 public:
  ProgressBar();
  void operator()(const promptcache::Progress& progress);

  /// As a callback that refers to this bar.
  promptcache::ProgressCallback callback() {
    return [this](const promptcache::Progress& progress) { (*this)(progress); };
  }

  /// Ends a half-drawn line, before other output.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  std::string stage_;
  std::size_t first_done_ = 0;
  std::size_t last_done_ = 0;
  Clock::time_point began_;
  Clock::time_point drawn_;
  bool open_line_ = false;
};

}  // namespace tool
