#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace tool {

struct Resolved {
  std::vector<std::string> addresses;  ///< numeric, in the order to try them; never empty without a problem
  std::string problem;
};

/// The addresses of a host. Looking a name up has no deadline of its own: a thread does it that outlives this call when
/// it takes longer.
Resolved resolve(const std::string& host, std::chrono::steady_clock::time_point deadline);

}  // namespace tool
