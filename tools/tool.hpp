#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace tool {

/// Exit codes of every tool; others script against them.
enum ExitCode : int {
  done = 0,
  failed = 1,         ///< something broke while running
  wrong_input = 2,    ///< wrong usage, or input files that are not what they must be
  interrupted = 130,  ///< Ctrl-C; work was saved
};

/// Parses the command line with `app`, runs `body`, and maps what is thrown to an exit code: CLI11's parse errors (and
/// --help) print as CLI11 wants, `promptcache::Error` prints as `<name>: <message>`. Errors about usage or input give
/// 2, all others 1.
int run(CLI::App& app, int argc, char** argv, const std::function<int()>& body);

}  // namespace tool
