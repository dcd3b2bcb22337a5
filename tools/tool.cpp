#include "tool.hpp"

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
    case ErrorCode::closed:
    case ErrorCode::busy: return failed;
  }
  return failed;
}

}  // namespace

int run(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  try {
    app.parse(argc, argv);
    return body();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? done : wrong_input;  // CLI11's own codes are above 100; ours are documented
  } catch (const promptcache::Error& error) {
    std::cerr << app.get_name() << ": " << error.what() << std::endl;
    return exit_code_of(error.code());
  } catch (const std::exception& error) {
    std::cerr << app.get_name() << ": " << error.what() << std::endl;
    return failed;
  }
}

}  // namespace tool
