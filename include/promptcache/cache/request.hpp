#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/cache/scope.hpp"
#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// A prompt that wants a response.
struct Request {
  std::string prompt;
  ScopeId scope = {};

  /// How long the lookup may take; then it is a miss. Waiting for another request that computes the same counts too.
  /// Without it the lookup runs on the caller's thread for as long as it takes.
  std::optional<std::chrono::nanoseconds> timeout = {};
};

/// What the caller's own computation returns.
struct Response {
  std::string text = {};
  double cost = 0;                                    ///< of computing it, in a unit of the caller's
  bool cacheable = true;                              ///< false: handed through and never stored
  std::vector<std::string> tags = {};                 ///< by which it can be invalidated
  std::optional<std::chrono::milliseconds> ttl = {};  ///< served for so long; default: `CacheOptions::ttl`
  std::vector<std::uint32_t> chunks = {};             ///< lengths of the parts it arrived in; empty: one
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
  std::vector<std::uint32_t> chunks = {};  ///< lengths of the parts the response first arrived in; empty: one
  Outcome outcome = Outcome::miss;
  Decision decision;

  bool hit() const noexcept { return outcome != Outcome::miss; }
};

}  // namespace promptcache
