#pragma once

#include <exception>
#include <string>

#include "promptcache/base/progress.hpp"

namespace tool {

/// Thrown from a progress report after Ctrl-C, so that work unwinds and leaves no half file; see `interruptible`.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted; nothing was written"; }
};

/// From now on Ctrl-C (or SIGTERM) makes reports through `interruptible` throw; a second one ends the program at once.
void catch_interrupts();

/// Whether one came since `catch_interrupts`, for work that saves and ends by itself.
bool interrupt_requested();

/// The command line again, with --resume, ready to be pasted into a shell.
std::string resume_command(int argc, const char* const* argv);

/// The callback, with that check before each report.
promptcache::ProgressCallback interruptible(promptcache::ProgressCallback callback);

}  // namespace tool
