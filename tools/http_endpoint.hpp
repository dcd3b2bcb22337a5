#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "promptcache/pairs/chat_teacher.hpp"

namespace tool {

/// Parts of a web address.
struct Url {
  bool https = false;
  std::string host;  ///< without the brackets of an IPv6 address
  int port = 0;
  std::string path;  ///< with a query, if any; begins with '/' or is empty

  /// Scheme, host and port: what may be shown, as a query can hold a secret.
  std::string origin() const;
  /// Whether the host is this machine.
  bool local() const;
};

/// Throws `Error(usage)` naming `place`: no http:// or https://, no host, a port that is none, a user and password.
Url parse_url(const std::string& text, const std::string& place);

/// The address of chat completions of an OpenAI-compatible endpoint: adds "/v1/chat/completions" to a bare host,
/// "/chat/completions" to any other path that does not end with it.
Url completions_url(const std::string& endpoint, const std::string& place);

struct HttpOptions {
  Url url;
  std::string key;                            ///< sent as a bearer token; empty: none
  std::string ca_file;                        ///< certificates to trust instead of the system's; empty: the system's
  std::chrono::milliseconds deadline{60000};  ///< of a whole request: name, connection, handshake, sending, reading
  std::size_t largest_body = std::size_t{1} << 20;  ///< bytes; a longer reply is cut off and is a failure
};

/// Posts JSON to one address, over connections that are kept. Safe to call from many threads at once: each call has a
/// connection of its own. No proxy, no redirects. The process must ignore SIGPIPE.
class HttpEndpoint {
 public:
  /// Throws `Error`: a CA file that cannot be read or holds no certificate, a key that no header can carry.
  explicit HttpEndpoint(HttpOptions options);
  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;
  ~HttpEndpoint();

  /// Never throws for what the other side does; returns within the deadline, give or take a tenth of a second.
  promptcache::HttpReply post(const std::string& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tool
