#pragma once

#include <map>
#include <string>
#include <string_view>

#include "promptcache/base/digest.hpp"

namespace promptcache {

/// What must be equal for one request's response to be another's: who asks, which model with which instructions. Fields
/// that are not given are absent, which differs from empty. Each setter replaces an earlier value.
///
///     Scope().tenant("acme").model("llama-3.1-8b").system(system_prompt).field("locale", "de")
class Scope {
 public:
  Scope& tenant(std::string_view value) { return set('t', "tenant", value); }
  Scope& model(std::string_view value) { return set('t', "model", value); }
  Scope& system(std::string_view value) { return set('t', "system", value); }  ///< the system prompt
  Scope& tools(std::string_view value) { return set('t', "tools", value); }    ///< in a canonical form of the caller's
  Scope& response_format(std::string_view value) { return set('t', "response_format", value); }
  Scope& sampling(std::string_view value) { return set('t', "sampling", value); }   ///< class of temperature, seed ...
  Scope& history(const Digest& value) { return set('t', "history", value.hex()); }  ///< of the earlier conversation

  /// A field of the caller's own; its name never clashes with those above.
  Scope& field(std::string_view name, std::string_view value) { return set('f', name, value); }

  /// SHA-256 over all fields by name, each name and value behind its length, under a tag of its own: no two different
  /// scopes have the same bytes, whatever texts they hold. About 1 us and 0.6 us a kilobyte.
  Digest digest() const;

 private:
  Scope& set(char kind, std::string_view name, std::string_view value) {
    fields_.insert_or_assign(kind + std::string(name), std::string(value));
    return *this;
  }

  std::map<std::string, std::string> fields_;  // ordered: the order of the setters does not matter
};

/// A scope's digest, made once and used for many requests.
class ScopeId {
 public:
  ScopeId();                                                ///< the scope without fields
  ScopeId(const Scope& scope) : digest_(scope.digest()) {}  // NOLINT(google-explicit-constructor): meant to convert

  const Digest& digest() const noexcept { return digest_; }
  bool operator==(const ScopeId&) const = default;

 private:
  Digest digest_;
};

/// Key of the exact tier: SHA-256 of scope and prompt.
Digest request_key(const ScopeId& scope, std::string_view prompt);

}  // namespace promptcache
