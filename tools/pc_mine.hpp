#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "promptcache/base/error.hpp"

namespace mine {

/// A command of the tool and what runs it, once the command line is parsed.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};
Command add_neighbours(CLI::App& app);
Command add_split(CLI::App& app);
Command add_select(CLI::App& app);

/// The whole text as a number. Throws `Error(code)`.
double parse_number(promptcache::ErrorCode code, const promptcache::Where& where, std::string_view text,
                    const std::string& wanted);

}  // namespace mine
