#include "http_endpoint.hpp"

#include <csignal>
#include <thread>
#include <vector>

#include "support.hpp"
#include "tools/loopback_server.hpp"

namespace {

using namespace std::chrono_literals;
using promptcache::ErrorCode;
using promptcache::HttpReply;
using test::LoopbackServer;
using test::Peer;
using test::WebRequest;
using tool::HttpEndpoint;
using tool::HttpOptions;

HttpOptions options_for(const std::string& url, std::chrono::milliseconds deadline = 20s) {
  std::signal(SIGPIPE, SIG_IGN);
  return {.url = tool::completions_url(url, "--endpoint"), .key = "sk-secret-key", .ca_file = "", .deadline = deadline};
}

void require_failure(const HttpReply& reply, const std::string& piece) {
  INFO(reply.status << " " << reply.failure << " " << reply.body);
  CHECK(reply.status == 0);
  CHECK(reply.failure.find(piece) != std::string::npos);
}

}  // namespace

TEST_CASE("addresses of endpoints") {
  const auto url = [](const std::string& text) {
    const tool::Url of = tool::completions_url(text, "--endpoint");
    return of.origin() + of.path;
  };
  CHECK(url("http://localhost:8000") == "http://localhost:8000/v1/chat/completions");
  CHECK(url("https://api.example.com/") == "https://api.example.com:443/v1/chat/completions");
  CHECK(url("https://api.example.com/v1") == "https://api.example.com:443/v1/chat/completions");
  CHECK(url("https://api.example.com/openai/v1/") == "https://api.example.com:443/openai/v1/chat/completions");
  CHECK(url("http://h/v1/chat/completions?version=2#x") == "http://h:80/v1/chat/completions?version=2");
  CHECK(url("http://h?version=2") == "http://h:80/v1/chat/completions?version=2");
  CHECK(url("http://[::1]:81/v1") == "http://[::1]:81/v1/chat/completions");
  CHECK(tool::completions_url("http://[::1]:81", "").host == "::1");
  CHECK(tool::completions_url("http://[::1]:81", "").local());
  for (const char* bad :
       {"", "localhost:8000", "ftp://h", "http://", "http://:80", "http://h:", "http://h:0", "http://h:99999",
        "http://h:8o", "http://[::1", "http://[::1]80", "http://h/a b", "http://h /"}) {
    INFO(bad);
    test::require_error(ErrorCode::usage, {"--endpoint"}, [&] { url(bad); });
  }
  test::require_error(ErrorCode::usage, {"password", "--key-env"}, [&] { url("http://me:word@h/v1"); });
  try {
    url("http://me:word@h/v1");
  } catch (const promptcache::Error& error) {
    CHECK(std::string(error.what()).find("word@") == std::string::npos);
  }
}

TEST_CASE("posts and gets replies, over connections that are kept") {
  std::mutex mutex;
  std::vector<WebRequest> seen;
  LoopbackServer server([&](const WebRequest& request, Peer& peer) {
    const std::lock_guard lock(mutex);
    seen.push_back(request);
    if (seen.size() == 3) {
      peer.reply(429, "slow down", "Retry-After: 7\r\n");
    } else {
      peer.reply(200, "echo " + request.body);
    }
  });
  HttpEndpoint endpoint(options_for(server.url()));
  for (const char* body : {"first", "second"}) {
    const HttpReply reply = endpoint.post(body);
    CHECK(reply.failure == "");
    CHECK(reply.status == 200);
    CHECK(reply.body == "echo " + std::string(body));
  }
  const HttpReply busy = endpoint.post("third");
  CHECK(busy.status == 429);
  CHECK(busy.retry_after == "7");
  CHECK(busy.body == "slow down");
  CHECK(server.connections() == 1);
  const std::lock_guard lock(mutex);
  const std::string& head = seen.at(0).head;
  INFO(head);
  CHECK(head.substr(0, 36) == "POST /v1/chat/completions HTTP/1.1\r\n");
  for (const char* field : {"Authorization: Bearer sk-secret-key\r\n", "Content-Type: application/json\r\n",
                            "Accept-Encoding: identity\r\n"}) {
    CHECK(head.find(field) != std::string::npos);
  }
  CHECK(head.find("Host: 127.0.0.1:" + std::to_string(server.port()) + "\r\n") != std::string::npos);
}

TEST_CASE("a name with several addresses is tried to the end") {
  // "localhost" is ::1 as well on most machines, where nobody listens.
  LoopbackServer server([](const WebRequest&, Peer& peer) { peer.reply(200, "here"); });
  HttpEndpoint endpoint(options_for("http://localhost:" + std::to_string(server.port())));
  CHECK(endpoint.post("").body == "here");
  CHECK(endpoint.post("").body == "here");
  CHECK(server.connections() == 1);
}

TEST_CASE("many threads at once") {
  LoopbackServer server([](const WebRequest& request, Peer& peer) { peer.reply(200, request.body); });
  HttpEndpoint endpoint(options_for(server.url()));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const std::string body = std::to_string(t) + "-" + std::to_string(i);
        if (endpoint.post(body).body != body) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(server.requests() == 160);
  CHECK(server.connections() <= 8);
}

TEST_CASE("nothing outlives the deadline, wherever a server dawdles") {
  std::function<void(Peer&)> dawdle;
  const auto drip = [](Peer& peer, const std::string& bytes) {
    while (peer.send(bytes) && peer.wait(10ms)) {
    }
  };
  SECTION("never answers") {
    dawdle = [](Peer& peer) { peer.wait(1h); };
  }
  SECTION("drips the status line") {
    dawdle = [&](Peer& peer) {
      peer.send("HTTP/1.1 200 O");
      drip(peer, "K");
    };
  }
  SECTION("drips header fields") {
    dawdle = [&](Peer& peer) {
      peer.send("HTTP/1.1 200 OK\r\n");
      drip(peer, "A: b\r\n");
    };
  }
  SECTION("drips a body of known length") {
    dawdle = [&](Peer& peer) {
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
      drip(peer, "x");
    };
  }
  SECTION("drips chunks") {
    dawdle = [&](Peer& peer) {
      peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      drip(peer, "1\r\nx\r\n");
    };
  }
  SECTION("drips a body that ends with the connection") {
    dawdle = [&](Peer& peer) {
      peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
      drip(peer, "x");
    };
  }
  const auto server = LoopbackServer::raw([&](Peer& peer) {
    if (peer.skip_request()) dawdle(peer);
  });
  const auto begin = std::chrono::steady_clock::now();
  HttpEndpoint endpoint(options_for(server->url(), 300ms));
  require_failure(endpoint.post("{}"), "no whole reply within 0.3 s");
  // Once more on the same object: a connection that was cut is not used again.
  require_failure(endpoint.post("{}"), "no whole reply within 0.3 s");
  // No bound on time as such, but without the watchdog this takes for ever (the servers never stop by themselves).
  CHECK(std::chrono::steady_clock::now() - begin >= 600ms);
  CHECK(server->connections() == 2);
}

TEST_CASE("a TLS handshake does not outlive the deadline either") {
  const auto silent = LoopbackServer::raw([](Peer& peer) { peer.wait(1h); });
  const std::string port = std::to_string(silent->port());
  HttpEndpoint endpoint(options_for("https://127.0.0.1:" + port, 300ms));
  require_failure(endpoint.post("{}"), "no whole reply within 0.3 s");

  // The head of a record that promises 16 KiB, and then a byte now and then.
  const auto dripping = LoopbackServer::raw([](Peer& peer) {
    peer.send(std::string("\x16\x03\x03\x40\x00", 5));
    while (peer.send("x") && peer.wait(10ms)) {
    }
  });
  HttpEndpoint other(options_for("https://127.0.0.1:" + std::to_string(dripping->port()), 300ms));
  require_failure(other.post("{}"), "no whole reply within 0.3 s");
}

TEST_CASE("replies that are not whole, too long, or none") {
  std::function<void(Peer&)> misbehave;
  std::string piece;
  SECTION("closes when it was asked") {
    misbehave = [](Peer&) {};
    piece = "closed the connection before its reply was whole";
  }
  SECTION("a body that is cut") {
    misbehave = [](Peer& peer) { peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"choices\""); };
    piece = "closed the connection before its reply was whole";
  }
  SECTION("chunks that are cut") {
    misbehave = [](Peer& peer) { peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"); };
    piece = "closed the connection before its reply was whole";
  }
  SECTION("a head that is cut") {
    misbehave = [](Peer& peer) { peer.send("HTTP/1.1 200 OK\r\nContent-Le"); };
    piece = "closed the connection before its reply was whole";
  }
  SECTION("no HTTP") {
    misbehave = [](Peer& peer) { peer.send("220 mail.example.com ESMTP\r\n\r\n"); };
    piece = "closed the connection before its reply was whole";
  }
  SECTION("a body longer than it may be") {
    misbehave = [](Peer& peer) {
      peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      while (peer.send("10000\r\n" + std::string(65536, 'x') + "\r\n")) {
      }
    };
    piece = "a reply of more than 1048576 bytes";
  }
  SECTION("a status line without end") {
    misbehave = [](Peer& peer) { peer.send("HTTP/1.1 200 " + std::string(5'000'000, 'x') + "\r\n\r\n"); };
    piece = "a line or a whole longer than any answer needs";
  }
  SECTION("a status line without end after another") {
    misbehave = [](Peer& peer) {
      peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 " + std::string(5'000'000, 'x') + "\r\n\r\n");
    };
    piece = "a line or a whole longer than any answer needs";
  }
  SECTION("a header field without end") {
    misbehave = [](Peer& peer) { peer.send("HTTP/1.1 200 OK\r\nA: " + std::string(5'000'000, 'x') + "\r\n\r\n"); };
    piece = "a line or a whole longer than any answer needs";
  }
  SECTION("header fields without end") {
    misbehave = [](Peer& peer) {
      peer.send("HTTP/1.1 200 OK\r\n");
      while (peer.send("A: " + std::string(5000, 'x') + "\r\n")) {
      }
    };
    piece = "a line or a whole longer than any answer needs";
  }
  SECTION("chunks of one byte with long heads") {
    misbehave = [](Peer& peer) {
      peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      while (peer.send("1;" + std::string(5000, 'x') + "\r\ny\r\n")) {
      }
    };
    piece = "a line or a whole longer than any answer needs";
  }
  const auto server = LoopbackServer::raw([&](Peer& peer) {
    if (peer.skip_request()) misbehave(peer);
  });
  HttpEndpoint endpoint(options_for(server->url()));
  require_failure(endpoint.post("{}"), piece);
  require_failure(endpoint.post("{}"), piece);
}

TEST_CASE("a server that closes each connection at once") {
  const auto server = LoopbackServer::raw([](Peer&) {});
  HttpEndpoint endpoint(options_for(server->url()));
  require_failure(endpoint.post("{}"), "closed the connection");
}

TEST_CASE("a server that is not there, a name that is none") {
  HttpEndpoint endpoint(options_for("http://127.0.0.1:" + std::to_string(test::dead_port())));
  require_failure(endpoint.post("{}"), "cannot connect to http://127.0.0.1:");
  HttpEndpoint nameless(options_for("http://no-such-host.invalid"));
  require_failure(nameless.post("{}"), "no-such-host.invalid");
}

TEST_CASE("a redirect is not followed") {
  LoopbackServer elsewhere([](const WebRequest&, Peer& peer) { peer.reply(200, "got the key"); });
  LoopbackServer server([&](const WebRequest&, Peer& peer) {
    peer.reply(307, "", "Location: " + elsewhere.url() + "/v1/chat/completions\r\n");
  });
  HttpEndpoint endpoint(options_for(server.url()));
  const HttpReply reply = endpoint.post("{}");
  CHECK(reply.status == 307);
  CHECK(reply.location == elsewhere.url() + "/v1/chat/completions");
  CHECK(elsewhere.connections() == 0);
}

TEST_CASE("TLS: a certificate must be trusted") {
  const test::TemporaryDirectory directory;
  const test::Certificate certificate = test::Certificate::make(), stranger = test::Certificate::make();
  LoopbackServer server([](const WebRequest& request, Peer& peer) { peer.reply(200, "over TLS: " + request.body); },
                        &certificate);
  HttpOptions options = options_for(server.url());
  {
    HttpEndpoint untrusting(options);
    const HttpReply reply = untrusting.post("{}");
    require_failure(reply, "is not trusted");
    CHECK(reply.hopeless);
    CHECK(server.requests() == 0);
  }
  options.ca_file = directory.write("other.pem", stranger.certificate);
  {
    HttpEndpoint untrusting(options);
    require_failure(untrusting.post("{}"), "is not trusted");
  }
  options.ca_file = directory.write("ca.pem", certificate.certificate);
  {
    HttpEndpoint endpoint(options);
    CHECK(endpoint.post("a").body == "over TLS: a");
    CHECK(endpoint.post("b").body == "over TLS: b");
  }
  options.url.host = "localhost";  // both names are in the certificate
  {
    HttpEndpoint endpoint(options);
    CHECK(endpoint.post("c").body == "over TLS: c");
  }
  options.url.host = "127.0.0.2";  // another name of the same machine is not
  {
    HttpEndpoint endpoint(options);
    const HttpReply reply = endpoint.post("{}");
    CHECK(reply.status == 0);
  }
  const auto plain = LoopbackServer::raw([](Peer& peer) { peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"); });
  options.url = tool::completions_url("https://127.0.0.1:" + std::to_string(plain->port()), "");
  HttpEndpoint confused(options);
  require_failure(confused.post("{}"), "TLS");
}

TEST_CASE("keys and files of certificates that cannot be used") {
  const test::TemporaryDirectory directory;
  HttpOptions options = options_for("https://127.0.0.1:1");
  options.ca_file = directory.file("none.pem");
  test::require_error(ErrorCode::not_found, {"none.pem"}, [&] { HttpEndpoint{options}; });
  options.ca_file = directory.write("bad.pem", "hello");
  test::require_error(ErrorCode::format, {"bad.pem", "no certificate"}, [&] { HttpEndpoint{options}; });
  options.ca_file = "";
  for (const char* key : {"two words", "line\nbreak", "end\r", "\xc3\xa4"}) {
    options.key = key;
    test::require_error(ErrorCode::usage, {"key"}, [&] { HttpEndpoint{options}; });
  }
}
