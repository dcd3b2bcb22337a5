#include "http_endpoint.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <httplib.h>  // the only file that sees it
#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "name_lookup.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace tool {
namespace {

using promptcache::HttpReply;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// cpp-httplib bounds each wait for a socket, not their sum: a server that sends a byte now and then holds a request
/// for ever. This thread shuts the socket down at the deadline, whatever the request is waiting for then.
class Watchdog {
 public:
  Watchdog() : thread_([this] { watch(); }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
    release();
  }

  /// A new connection of the client. A duplicate is kept, as the client may close its own, and the number may be
  /// another's by then.
  void adopt(int socket) {
    const std::lock_guard lock(mutex_);
    release();
    socket_ = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
  }

  void begin(Clock::time_point deadline) {
    const std::lock_guard lock(mutex_);
    deadline_ = deadline;
    fired_ = false;
    changed_.notify_one();
  }

  /// The request is over. Whether it ran into the deadline.
  bool finish() {
    const std::lock_guard lock(mutex_);
    deadline_.reset();
    return fired_;
  }

  /// The connection is closed: the duplicate would keep it open.
  void forget() {
    const std::lock_guard lock(mutex_);
    release();
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!ending_) {
      if (!deadline_) {
        changed_.wait(lock);
      } else if (Clock::now() < *deadline_) {
        changed_.wait_until(lock, *deadline_);
      } else {
        fired_ = true;
        if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
        changed_.wait_for(lock, milliseconds(20));  // and again: the client may just be opening another connection
      }
    }
  }

  void release() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Clock::time_point> deadline_;
  int socket_ = -1;
  bool fired_ = false;
  bool ending_ = false;
  std::thread thread_;  // last: it uses the others
};

/// What a reply may have at most. cpp-httplib itself takes lines of any length, and matches the first one with
/// std::regex, which recurses for each character until the stack is gone.
struct ReplyBounds {
  static constexpr std::size_t status_line = 1024;
  static constexpr std::size_t line = std::size_t{1} << 14;
  std::size_t all = 0;    ///< bytes on the wire
  bool exceeded = false;  ///< by the last reply
};

/// The stream of one request: blocking, as the watchdog ends every wait; counts what it hands out.
class BoundedStream : public httplib::Stream {
 public:
  BoundedStream(socket_t socket, SSL* ssl, ReplyBounds& bounds) : socket_(socket), ssl_(ssl), bounds_(bounds) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

  ssize_t read(char* out, std::size_t size) override {
    if (next_ == end_) {
      const ssize_t got = receive();
      if (got <= 0) return got;
      next_ = 0;
      end_ = static_cast<std::size_t>(got);
    }
    const bool line = size == 1;  // lines are read one byte at a time, everything else in larger pieces
    size = std::min(size, end_ - next_);
    std::memcpy(out, buffer_ + next_, size);
    next_ += size;
    total_ += size;
    if (line) follow_line(*out);
    if (total_ > bounds_.all || line_size_ > ReplyBounds::line ||
        (line_size_ > ReplyBounds::status_line && std::memcmp(line_start_, "HTTP/", sizeof(line_start_)) == 0)) {
      bounds_.exceeded = true;
      return -1;
    }
    return static_cast<ssize_t>(size);
  }

  ssize_t write(const char* data, std::size_t size) override {
    const std::size_t part = std::min(size, std::size_t{1} << 20);
    if (ssl_ != nullptr) return SSL_write(ssl_, data, static_cast<int>(part));
    ssize_t sent = 0;
    while ((sent = ::send(socket_, data, part, MSG_NOSIGNAL)) < 0 && errno == EINTR) {
    }
    return sent;
  }

 private:
  ssize_t receive() {
    if (ssl_ != nullptr) {
      const int got = SSL_read(ssl_, buffer_, sizeof(buffer_));
      return got > 0 || SSL_get_error(ssl_, got) == SSL_ERROR_ZERO_RETURN ? std::max(got, 0) : -1;
    }
    ssize_t got = 0;
    while ((got = ::recv(socket_, buffer_, sizeof(buffer_), 0)) < 0 && errno == EINTR) {
    }
    return got;
  }

  void follow_line(char c) {
    if (c == '\n') {
      line_size_ = 0;
      return;
    }
    if (line_size_ < sizeof(line_start_)) line_start_[line_size_] = c;
    ++line_size_;
  }

  socket_t socket_;
  SSL* ssl_;
  ReplyBounds& bounds_;
  char buffer_[4096];
  std::size_t next_ = 0, end_ = 0, total_ = 0;
  std::size_t line_size_ = 0;
  char line_start_[5] = {};
};

/// A client of cpp-httplib that reads through a BoundedStream.
template <class Base>
class BoundedClient : public Base {
 public:
  BoundedClient(const Url& url, ReplyBounds& bounds) : Base(url.host, url.port), bounds_(bounds) {}

 private:
  bool process_socket(const typename Base::Socket& socket, std::function<bool(httplib::Stream&)> callback) override {
    BoundedStream stream(socket.sock, socket.ssl, bounds_);
    return callback(stream);
  }

  ReplyBounds& bounds_;
};

/// One client with its connection and watchdog; used by one thread at a time.
class Connection {
 public:
  explicit Connection(const HttpOptions& options) : options_(options) {
    const Url& url = options.url;
    bounds_.all = 4 * options.largest_body + (std::size_t{1} << 16);  // heads, and what chunks have around them
    if (url.https) {
      client_ = std::make_unique<BoundedClient<httplib::SSLClient>>(url, bounds_);
      if (!options.ca_file.empty()) client_->set_ca_cert_path(options.ca_file);
      client_->enable_server_certificate_verification(true);
    } else {
      client_ = std::make_unique<BoundedClient<httplib::ClientImpl>>(url, bounds_);
    }
    client_->set_keep_alive(true);
    client_->set_follow_location(false);  // the key is for this host only
    client_->set_url_encode(false);       // the path is as the user wrote it
    client_->set_tcp_nodelay(true);
    client_->set_socket_options([this](socket_t socket) { watchdog_.adopt(socket); });
  }

  HttpReply post(const std::string& body) {
    const Clock::time_point deadline = Clock::now() + options_.deadline;
    HttpReply reply;
    if (addresses_.empty()) {
      Resolved found = resolve(options_.url.host, deadline);
      if (found.addresses.empty()) {
        reply.failure = found.problem;
        return reply;
      }
      addresses_ = std::move(found.addresses);
    }
    watchdog_.begin(deadline);
    // An address that takes no connection leaves time for the next one.
    while (!attempt(body, deadline, reply) && addresses_.size() > 1 && Clock::now() < deadline) {
      addresses_.erase(addresses_.begin());
    }
    if (watchdog_.finish()) {
      reply = HttpReply{};
      reply.failure = "no whole reply within " + seconds_text(options_.deadline);
    }
    if (reply.status == 0) {
      client_->stop();
      addresses_.clear();  // to be looked up anew
    }
    if (client_->is_socket_open() == 0) watchdog_.forget();
    return reply;
  }

 private:
  static std::string seconds_text(milliseconds time) {
    const double seconds = static_cast<double>(time.count()) / 1000;
    std::string text = std::to_string(seconds);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text + " s";
  }

  /// Whether a connection was made, and whatever came of it.
  bool attempt(const std::string& body, Clock::time_point deadline, HttpReply& reply) {
    const milliseconds left =
        std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(deadline - Clock::now()));
    client_->set_hostname_addr_map({{options_.url.host, addresses_.front()}});
    client_->set_connection_timeout(left / static_cast<int>(addresses_.size()));
    bounds_.exceeded = false;

    httplib::Request request;
    request.method = "POST";
    request.path = options_.url.path;
    request.body = body;
    const std::string origin = options_.url.origin();
    request.set_header("Host", origin.substr(origin.find("//") + 2));
    request.set_header("Content-Type", "application/json");
    request.set_header("Accept", "application/json");
    request.set_header("Accept-Encoding", "identity");
    request.set_header("User-Agent", "promptcache");
    if (!options_.key.empty()) request.set_header("Authorization", "Bearer " + options_.key);
    std::string received;
    bool too_long = false;
    request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
      too_long = size > options_.largest_body - received.size();
      if (!too_long) received.append(data, size);
      return !too_long;
    };

    httplib::Response response;
    httplib::Error error = httplib::Error::Success;
    const bool whole = client_->send(request, response, error);
    reply = HttpReply{};
    if (whole) {
      reply.status = response.status;
      reply.body = std::move(received);
      reply.retry_after = response.get_header_value("Retry-After");
      reply.location = response.get_header_value("Location");
    } else if (too_long || bounds_.exceeded) {
      reply.failure = too_long ? "a reply of more than " + std::to_string(options_.largest_body) + " bytes"
                               : "a reply with a line or a whole longer than any answer needs";
    } else {
      explain(error, reply);
    }
    return whole || error != httplib::Error::Connection;
  }

  void explain(httplib::Error error, HttpReply& reply) {
    const std::string where = options_.url.origin();
    switch (error) {
      case httplib::Error::Connection: reply.failure = "cannot connect to " + where; break;
      case httplib::Error::Read: reply.failure = where + " closed the connection before its reply was whole"; break;
      case httplib::Error::Write: reply.failure = where + " closed the connection while it was asked"; break;
      case httplib::Error::SSLConnection: reply.failure = "no TLS handshake with " + where; break;
      case httplib::Error::SSLLoadingCerts:
        reply.failure = "the trusted certificates cannot be loaded";
        reply.hopeless = true;
        break;
      case httplib::Error::SSLServerVerification:
        reply.failure = "the certificate of " + where + " is not trusted (--ca-file names others to trust)";
        reply.hopeless = true;
        break;
      default: reply.failure = "the request to " + where + " failed: " + httplib::to_string(error);
    }
  }

  const HttpOptions& options_;
  Watchdog watchdog_;  // before the client, whose socket it watches
  ReplyBounds bounds_;
  std::unique_ptr<httplib::ClientImpl> client_;
  std::vector<std::string> addresses_;  // left to try; the first is in use
};

}  // namespace

struct HttpEndpoint::State {
  HttpOptions options;
  std::mutex mutex;
  std::vector<std::unique_ptr<Connection>> idle;
};

HttpEndpoint::HttpEndpoint(HttpOptions options) : state_(std::make_unique<State>()) {
  using promptcache::Error;
  using promptcache::ErrorCode;
  const auto odd = [](unsigned char c) { return c <= ' ' || c >= 0x7f; };
  if (std::any_of(options.key.begin(), options.key.end(), odd)) {
    throw Error(ErrorCode::usage, {"the key"}, "white space or characters outside ASCII in it",
                "a key as it was issued");
  }
  if (!options.ca_file.empty() &&
      promptcache::read_file(options.ca_file).find("-----BEGIN CERTIFICATE-----") == std::string::npos) {
    throw Error(ErrorCode::format, {options.ca_file}, "no certificate", "certificates in PEM form");
  }
  state_->options = std::move(options);
}

HttpEndpoint::~HttpEndpoint() = default;

HttpReply HttpEndpoint::post(const std::string& body) {
  std::unique_ptr<Connection> connection;
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->idle.empty()) {
      connection = std::move(state_->idle.back());
      state_->idle.pop_back();
    }
  }
  if (!connection) connection = std::make_unique<Connection>(state_->options);
  HttpReply reply = connection->post(body);
  const std::lock_guard lock(state_->mutex);
  state_->idle.push_back(std::move(connection));
  return reply;
}

}  // namespace tool
