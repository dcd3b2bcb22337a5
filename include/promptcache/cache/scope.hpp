#pragma once

#include <cstddef>
#include <map>
#include <memory>
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

  /// The scope of an OpenAI chat completion request: `ChatRequest::parse(json).scope`.
  static Scope from_chat_request(std::string_view json);

  /// SHA-256 over all fields by name, each name and value behind its length, under a tag of its own: no two different
  /// scopes have the same bytes, whatever texts they hold. About 1 us and 0.6 us a kilobyte.
  Digest digest() const;

  /// Names, behind 't' for those above and 'f' for the caller's own, and values.
  using Fields = std::map<std::string, std::string>;
  const Fields& fields() const noexcept { return fields_; }

  /// Whether each of our fields is there too, and begins with our value. Only the first `remembered_bytes` bytes count.
  bool is_prefix_of(const Fields& fields) const;
  static constexpr std::size_t remembered_bytes = 256;

 private:
  Scope& set(char kind, std::string_view name, std::string_view value) {
    fields_.insert_or_assign(kind + std::string(name), std::string(value));
    return *this;
  }

  Fields fields_;  // ordered: the order of the setters does not matter
};

/// A scope's digest, made once and used for many requests, and the first `Scope::remembered_bytes` bytes of its values,
/// so that entries can be invalidated by them.
class ScopeId {
 public:
  using Fields = std::shared_ptr<const Scope::Fields>;

  ScopeId();                    ///< the scope without fields
  ScopeId(const Scope& scope);  // NOLINT(google-explicit-constructor): meant to convert

  const Digest& digest() const noexcept { return digest_; }
  const Fields& fields() const noexcept { return fields_; }
  bool operator==(const ScopeId& other) const noexcept { return digest_ == other.digest_; }

 private:
  Digest digest_;
  Fields fields_;
};

/// Key of the exact tier: SHA-256 of scope, prompt and the embedder's identity.
Digest request_key(const Digest& scope, std::string_view prompt, const Digest& embedder);

}  // namespace promptcache
