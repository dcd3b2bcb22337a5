#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "promptcache/cache/scope.hpp"
#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// A prompt that wants a response.
struct Request {
  std::string prompt;
  ScopeId scope = {};
};

/// What the caller's own computation returns.
struct Response {
  std::string text;
  double cost = 0;                     ///< of computing it, in a unit of the caller's; kept with the entry
  bool cacheable = true;               ///< false: handed through and never stored
  std::vector<std::string> tags = {};  ///< kept with the entry
};

/// Where a response came from.
enum class Outcome : std::uint8_t {
  exact_hit,     ///< stored under the same scope and prompt
  semantic_hit,  ///< stored for a similar prompt of the scope
  coalesced,     ///< another request computed it, or looked it up, at the same time
  miss,          ///< computed by the caller
};

/// Name of an outcome as it appears in logs, for example "exact_hit".
const char* to_string(Outcome outcome) noexcept;

/// The answer to a request, with the evidence for it.
struct Reply {
  std::string response;
  Outcome outcome = Outcome::miss;
  Decision decision;

  bool hit() const noexcept { return outcome != Outcome::miss; }
};

}  // namespace promptcache
