#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace test {

/// A self-signed certificate for 127.0.0.1 and localhost with its key, made on the spot, as PEM.
struct Certificate {
  std::string certificate, key;
  static Certificate make();
};

struct WebRequest {
  std::string head;  ///< request line and header fields, as sent
  std::string body;
};

/// The server's end of one connection.
class Peer {
 public:
  virtual ~Peer() = default;
  /// Sends raw bytes; false when the other side is gone.
  virtual bool send(std::string_view bytes) = 0;
  /// Reads a whole request and drops it; for raw connections.
  virtual bool skip_request() = 0;
  /// Waits; false when the server is being stopped.
  virtual bool wait(std::chrono::milliseconds time) = 0;
  /// No further request is read on this connection.
  virtual void close() = 0;

  /// A whole reply; `fields` are header lines, each ended by CRLF.
  bool reply(int status, std::string_view body, std::string_view fields = "");
};

/// An HTTP server on 127.0.0.1 that answers as badly as its handler wants. The handler is called for each request, on
/// the connection's own thread.
class LoopbackServer {
 public:
  using Handler = std::function<void(const WebRequest&, Peer&)>;

  explicit LoopbackServer(Handler handler, const Certificate* certificate = nullptr);
  /// Calls `raw` for each connection instead, before anything is read.
  static std::unique_ptr<LoopbackServer> raw(std::function<void(Peer&)> raw);
  ~LoopbackServer();
  LoopbackServer(const LoopbackServer&) = delete;
  LoopbackServer& operator=(const LoopbackServer&) = delete;

  int port() const { return port_; }
  std::string url() const;  ///< without a path
  std::size_t requests() const { return requests_; }
  std::size_t connections() const { return connections_; }

 private:
  class Connection;

  LoopbackServer(Handler handler, std::function<void(Peer&)> raw, const Certificate* certificate);
  void listen();

  Handler handler_;
  std::function<void(Peer&)> raw_;
  void* tls_ = nullptr;  // SSL_CTX
  int socket_ = -1;
  int port_ = 0;
  std::atomic<std::size_t> requests_{0}, connections_{0};
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::list<std::unique_ptr<Connection>> open_;
  std::thread thread_;
};

/// The body of a chat completion.
std::string completion(const std::string& answer, std::size_t prompt_tokens = 100, std::size_t answer_tokens = 2);

/// The question in the body of a request for one.
std::string question_of(const WebRequest& request);

/// A port of 127.0.0.1 on which nobody listens.
int dead_port();

}  // namespace test
