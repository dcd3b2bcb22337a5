#pragma once

#include <functional>

namespace tool {

/// Exit codes of every tool; others script against them.
enum ExitCode : int {
  done = 0,
  failed = 1,         ///< something broke while running
  wrong_input = 2,    ///< wrong usage, or input files that are not what they must be
  interrupted = 130,  ///< Ctrl-C; work was saved
};

/// Runs a tool's body and maps what it throws to an exit code: CLI11's parse errors (and --help) print as CLI11 wants,
/// `promptcache::Error` prints as `<name>: <message>`. Errors about the input give 2, all others 1.
int run(const char* name, const std::function<int()>& body);

}  // namespace tool
