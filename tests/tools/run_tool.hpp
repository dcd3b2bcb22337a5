#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>

#include "support.hpp"

namespace test {

struct ToolResult {
  int code = -1;
  std::string output;  ///< standard output and error together
};

/// Runs a tool of this build with arguments as the shell takes them.
inline ToolResult run_tool(const std::string& command) {
  ToolResult result;
  std::FILE* pipe = ::popen(("exec 2>&1; " + std::string(PROMPTCACHE_TEST_TOOLS) + "/" + command).c_str(), "r");
  REQUIRE(pipe != nullptr);
  char block[4096];
  for (std::size_t got = 0; (got = std::fread(block, 1, sizeof(block), pipe)) > 0;) result.output.append(block, got);
  const int status = ::pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

/// The exit code, and pieces that the output must have.
inline void require_code(const ToolResult& result, int code, std::initializer_list<std::string> pieces) {
  INFO(result.output);
  CHECK(result.code == code);
  for (const std::string& piece : pieces) {
    INFO("wanted in the output: " << piece);
    CHECK(result.output.find(piece) != std::string::npos);
  }
}

}  // namespace test
