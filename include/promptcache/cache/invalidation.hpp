#pragma once

#include <optional>
#include <string>

#include "promptcache/cache/scope.hpp"
#include "promptcache/store/entry.hpp"

namespace promptcache {

/// Which entries `Cache::invalidate` removes: those that meet every condition given.
///
///     cache.invalidate({.tag = "price list"});
///     cache.invalidate({.fields = Scope().tenant("acme").model("llama-3")});   // llama-3.1-8b, llama-3.2 ...
struct Invalidation {
  std::optional<EntryId> entry = {};
  std::optional<ScopeId> scope = {};
  std::optional<std::string> tag = {};
  std::optional<Scope> fields = {};  ///< the entry's scope has each of these, beginning with the value given here
  std::optional<Entry::TimePoint> stored_before = {};
  bool everything = false;  ///< needed, and enough, when no condition is given
};

}  // namespace promptcache
