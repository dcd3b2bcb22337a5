#pragma once

#include <exception>

#include "promptcache/base/progress.hpp"

namespace tool {

/// Thrown from a progress report after Ctrl-C, so that work unwinds and leaves no half file; see `interruptible`.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted; nothing was written"; }
};

/// From now on Ctrl-C (or SIGTERM) makes reports through `interruptible` throw; a second one ends the program at once.
void catch_interrupts();

/// The callback, with that check before each report.
promptcache::ProgressCallback interruptible(promptcache::ProgressCallback callback);

}  // namespace tool
