#include "tools/loopback_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace test {
namespace {

std::string pem(const std::function<int(BIO*)>& write) {
  const std::unique_ptr<BIO, int (*)(BIO*)> memory(BIO_new(BIO_s_mem()), BIO_free);
  if (write(memory.get()) != 1) throw std::runtime_error("PEM");
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

int listening_socket(int& port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no socket on 127.0.0.1");
  }
  port = ntohs(address.sin_port);
  return descriptor;
}

}  // namespace

Certificate Certificate::make() {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, void (*)(X509*)> x509(X509_new(), X509_free);
  X509_set_version(x509.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(x509.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509.get()), 3600);
  X509_set_pubkey(x509.get(), key.get());
  X509_NAME* const name = X509_get_subject_name(x509.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("loopback test"), -1, -1,
                             0);
  X509_set_issuer_name(x509.get(), name);
  for (const auto& [kind, value] : {std::pair{NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost"},
                                    std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
    X509_add_ext(x509.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  if (X509_sign(x509.get(), key.get(), EVP_sha256()) == 0) throw std::runtime_error("signing");
  return {pem([&](BIO* memory) { return PEM_write_bio_X509(memory, x509.get()); }), pem([&](BIO* memory) {
            return PEM_write_bio_PrivateKey(memory, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

bool Peer::reply(int status, std::string_view body, std::string_view fields) {
  return send("HTTP/1.1 " + std::to_string(status) + " Status\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n" + std::string(fields) + "\r\n" + std::string(body));
}

class LoopbackServer::Connection : public Peer {
 public:
  Connection(LoopbackServer& server, int socket) : server_(server), socket_(socket), thread_([this] { serve(); }) {}
  ~Connection() override {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }

  bool send(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t sent = tls_ != nullptr ? SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()))
                                           : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  bool skip_request() override {
    WebRequest request;
    return read(request);
  }

  bool wait(std::chrono::milliseconds time) override {
    std::unique_lock lock(server_.mutex_);
    return !server_.stopped_.wait_for(lock, time, [&] { return server_.stopping_; });
  }

  void close() override { closed_ = true; }

 private:
  void serve() {
    if (server_.raw_) {
      server_.raw_(*this);
    } else if (server_.tls_ == nullptr) {
      answer();
    } else {
      tls_ = SSL_new(static_cast<SSL_CTX*>(server_.tls_));
      SSL_set_fd(tls_, socket_);
      if (SSL_accept(tls_) == 1) answer();
      SSL_free(tls_);
      tls_ = nullptr;
    }
    ::shutdown(socket_, SHUT_RDWR);
  }

  void answer() {
    WebRequest request;
    while (!closed_ && read(request)) {
      ++server_.requests_;
      server_.handler_(request, *this);
    }
  }

  bool read(WebRequest& request) {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!more()) return false;
    }
    request.head = buffer_.substr(0, end + 2);
    const std::size_t field = request.head.find("Content-Length: ");
    const std::size_t size = field == std::string::npos ? 0 : std::strtoul(&request.head[field + 16], nullptr, 10);
    while (buffer_.size() < end + 4 + size) {
      if (!more()) return false;
    }
    request.body = buffer_.substr(end + 4, size);
    buffer_.erase(0, end + 4 + size);
    return true;
  }

  bool more() {
    char block[4096];
    const ssize_t got =
        tls_ != nullptr ? SSL_read(tls_, block, sizeof(block)) : ::recv(socket_, block, sizeof(block), 0);
    if (got <= 0) return false;
    buffer_.append(block, static_cast<std::size_t>(got));
    return true;
  }

  LoopbackServer& server_;
  int socket_;
  SSL* tls_ = nullptr;
  bool closed_ = false;
  std::string buffer_;
  std::thread thread_;  // last: it uses the others
};

LoopbackServer::LoopbackServer(Handler handler, const Certificate* certificate)
    : LoopbackServer(std::move(handler), nullptr, certificate) {}

std::unique_ptr<LoopbackServer> LoopbackServer::raw(std::function<void(Peer&)> raw) {
  return std::unique_ptr<LoopbackServer>(new LoopbackServer(nullptr, std::move(raw), nullptr));
}

LoopbackServer::LoopbackServer(Handler handler, std::function<void(Peer&)> raw, const Certificate* certificate)
    : handler_(std::move(handler)), raw_(std::move(raw)) {
  std::signal(SIGPIPE, SIG_IGN);  // a client that hangs up must not end the tests
  if (certificate != nullptr) {
    SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
    tls_ = context;
    const auto bio = [](const std::string& text) {
      return std::unique_ptr<BIO, int (*)(BIO*)>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
    };
    const std::unique_ptr<X509, void (*)(X509*)> x509(
        PEM_read_bio_X509(bio(certificate->certificate).get(), nullptr, nullptr, nullptr), X509_free);
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
        PEM_read_bio_PrivateKey(bio(certificate->key).get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
    if (SSL_CTX_use_certificate(context, x509.get()) != 1 || SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
      throw std::runtime_error("certificate");
    }
  }
  socket_ = listening_socket(port_);
  ::listen(socket_, 128);
  thread_ = std::thread([this] { listen(); });
}

void LoopbackServer::listen() {
  for (;;) {
    const int connection = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    ++connections_;
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      ::close(connection);
      return;
    }
    open_.push_back(std::make_unique<Connection>(*this, connection));
  }
}

LoopbackServer::~LoopbackServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  ::shutdown(socket_, SHUT_RDWR);
  thread_.join();
  ::close(socket_);
  open_.clear();
  if (tls_ != nullptr) SSL_CTX_free(static_cast<SSL_CTX*>(tls_));
}

std::string LoopbackServer::url() const {
  return std::string(tls_ != nullptr ? "https" : "http") + "://127.0.0.1:" + std::to_string(port_);
}

std::string completion(const std::string& answer, std::size_t prompt_tokens, std::size_t answer_tokens) {
  const nlohmann::json message = {{"role", "assistant"}, {"content", answer}};
  const nlohmann::json body = {{"model", "loopback-1"},
                               {"choices", {{{"index", 0}, {"message", message}, {"finish_reason", "stop"}}}},
                               {"usage", {{"prompt_tokens", prompt_tokens}, {"completion_tokens", answer_tokens}}}};
  return body.dump();
}

std::string question_of(const WebRequest& request) {
  const nlohmann::json body = nlohmann::json::parse(request.body, nullptr, false);
  return body.is_object() ? body["messages"][0]["content"].get<std::string>() : "";
}

int dead_port() {
  int port = 0;
  ::close(listening_socket(port));
  return port;
}

}  // namespace test
