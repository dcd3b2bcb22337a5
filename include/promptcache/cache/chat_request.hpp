#pragma once

#include <string>
#include <string_view>

#include "promptcache/cache/scope.hpp"

namespace promptcache {

/// An OpenAI chat completion request as the cache sees it: the text of the last message is the prompt, everything else
/// that the response depends on is the scope.
///
///     ChatRequest chat = ChatRequest::parse(body);
///     cache.lookup({.prompt = chat.prompt, .scope = chat.scope.tenant(who)});
struct ChatRequest {
  Scope scope;  ///< who asks is not in the request: add the tenant
  std::string prompt;

  /// The order of keys, white space, and the spelling of numbers do not matter; a top-level null counts as absent. A
  /// leading system message becomes the scope's system prompt, the messages between it and the last one its history.
  /// Without influence are stream, stream_options, user, metadata, store, service_tier, prompt_cache_key and
  /// safety_identifier; any other field, known or not, makes another scope. About 10 us a kilobyte.
  ///
  /// Throws `Error`: format for what is no such request, with a key twice in an object or with bytes that are not
  /// UTF-8; unsupported when the last message is not a user's, or has parts that are not text.
  static ChatRequest parse(std::string_view json);
};

}  // namespace promptcache
