#include "tool.hpp"

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

#include "promptcache/base/error.hpp"

namespace tool {
namespace {

ExitCode exit_code_of(promptcache::ErrorCode code) {
  using promptcache::ErrorCode;
  switch (code) {
    case ErrorCode::usage:
    case ErrorCode::not_found:
    case ErrorCode::access:
    case ErrorCode::format:
    case ErrorCode::unsupported:
    case ErrorCode::mismatch:
    case ErrorCode::numeric: return wrong_input;
    case ErrorCode::io:
    case ErrorCode::diverged:
    case ErrorCode::closed: return failed;
  }
  return failed;
}

}  // namespace

int run(const char* name, const std::function<int()>& body) {
  try {
    return body();
  } catch (const CLI::ParseError& error) {
    // CLI11 prints the message or the help text; its own codes are above 100, ours are documented.
    return CLI::App().exit(error) == 0 ? done : wrong_input;
  } catch (const promptcache::Error& error) {
    std::cerr << name << ": " << error.what() << std::endl;
    return exit_code_of(error.code());
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << std::endl;
    return failed;
  }
}

}  // namespace tool
