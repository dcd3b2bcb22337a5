// Responses in parts, and requests that share one computation.
#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "cache/fakes.hpp"
#include "support.hpp"

using namespace promptcache;
using namespace std::chrono_literals;

namespace {

using Chunks = std::vector<std::string>;

struct Fixture {
  std::shared_ptr<test::WordEmbedder> embedder = std::make_shared<test::WordEmbedder>();
  CacheOptions options{.embedder = embedder, .policy = std::make_shared<ThresholdPolicy>(0.9)};

  static ChunkCallback into(Chunks& chunks) {
    return [&chunks](std::string_view chunk) { chunks.emplace_back(chunk); };
  }
  static void wait_until(const std::function<bool()>& reached) {
    while (!reached()) std::this_thread::sleep_for(1ms);
  }
};

const Chunks parts = {"Hel", "", "lo ", "world"};

void produce(const ChunkCallback& emit) {
  for (const std::string& part : parts) emit(part);
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a response in parts is forwarded, stored whole, and comes again in its parts") {
  Cache cache(options);
  Chunks first, again, similar;
  const Reply reply = cache.get_or_stream({.prompt = "a b"}, produce, into(first));
  CHECK(reply.response == "Hello world");
  CHECK(reply.outcome == Outcome::miss);
  CHECK(first == parts);
  CHECK(cache.get_or_stream({.prompt = "a b"}, produce, into(again)).outcome == Outcome::exact_hit);
  CHECK(again == parts);
  CHECK(cache.get_or_stream({.prompt = "b a"}, produce, into(similar)).outcome == Outcome::semantic_hit);
  CHECK(similar == parts);
  CHECK(cache.get_or_compute({.prompt = "a b"}, [] { return std::string(); }).response == "Hello world");
  cache.get_or_compute({.prompt = "whole"}, [] { return std::string("one part"); });
  Chunks whole;
  cache.get_or_stream({.prompt = "whole"}, produce, into(whole));
  CHECK(whole == Chunks{"one part"});
}

TEST_CASE_METHOD(Fixture, "what breaks off is not stored") {
  Cache cache(options);
  Chunks chunks;
  const auto broken = [](const ChunkCallback& emit) {
    emit("Hel");
    throw std::runtime_error("broke off");
  };
  CHECK_THROWS_WITH(cache.get_or_stream({.prompt = "q"}, broken, into(chunks)), "broke off");
  CHECK(chunks == Chunks{"Hel"});
  CHECK(cache.stats().entries == 0);
  const auto gone = [](std::string_view) { throw std::runtime_error("client gone"); };
  CHECK_THROWS_WITH(cache.get_or_stream({.prompt = "q"}, produce, gone), "client gone");
  CHECK(cache.stats().entries == 0);
  const auto private_one = [](const ChunkCallback& emit) {
    emit("secret");
    return Response{.cacheable = false};
  };
  CHECK(cache.get_or_stream({.prompt = "q"}, private_one, into(chunks)).response == "secret");
  CHECK(cache.stats().entries == 0);
}

TEST_CASE_METHOD(Fixture, "who waits for the same response gets its parts as they come") {
  Cache cache(options);
  std::promise<void> go_on;
  std::shared_future<void> may = go_on.get_future().share();
  std::atomic<bool> began{false};
  Chunks led;
  std::thread leader([&] {
    cache.get_or_stream(
        {.prompt = "q"},
        [&](const ChunkCallback& emit) {
          emit("first");
          began = true;
          may.wait();
          emit("second");
        },
        into(led));
  });
  wait_until([&] { return began.load(); });
  std::atomic<int> seen{0};
  std::atomic<int> right{0};
  std::vector<std::thread> followers;
  for (int i = 0; i < 3; ++i) {
    followers.emplace_back([&] {
      Chunks chunks;
      const Reply reply = cache.get_or_stream({.prompt = "q"}, produce, [&](std::string_view chunk) {
        chunks.emplace_back(chunk);
        ++seen;
      });
      const bool whole = reply.response == "firstsecond" && chunks == Chunks{"first", "second"};
      if (whole && reply.outcome == Outcome::coalesced) ++right;
    });
  }
  wait_until([&] { return seen == 3; });  // the first part, before the second is there
  go_on.set_value();
  leader.join();
  for (std::thread& follower : followers) follower.join();
  CHECK(led == Chunks{"first", "second"});
  CHECK(right == 3);
  CHECK(cache.stats().inserts == 1);
}

TEST_CASE_METHOD(Fixture, "a client that goes does not take the stream from those who follow") {
  Cache cache(options);
  std::atomic<bool> began{false};
  std::atomic<bool> followed{false};
  std::string thrown;
  std::thread leader([&] {
    bool first = true;
    const auto sink = [&](std::string_view) {
      if (!std::exchange(first, false)) throw std::runtime_error("client gone");
    };
    const auto slow = [&](const ChunkCallback& emit) {
      emit("a");
      began = true;
      wait_until([&] { return followed.load(); });
      emit("b");
      emit("c");
    };
    try {
      cache.get_or_stream({.prompt = "q"}, slow, sink);
    } catch (const std::runtime_error& error) {
      thrown = error.what();
    }
  });
  wait_until([&] { return began.load(); });
  Chunks chunks;
  cache.get_or_stream({.prompt = "q"}, produce, [&](std::string_view chunk) {
    chunks.emplace_back(chunk);
    followed = true;
  });
  leader.join();
  CHECK(thrown == "client gone");
  CHECK(chunks == Chunks{"a", "b", "c"});
  CHECK(cache.stats().entries == 1);
}

TEST_CASE_METHOD(Fixture, "a thousand threads with one request make one computation") {
  Cache cache(options);
  std::atomic<int> computed{0};
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 1000; ++i) {
    threads.emplace_back([&] {
      const Reply reply = cache.get_or_compute({.prompt = "q"}, [&] {
        ++computed;
        std::this_thread::sleep_for(20ms);
        return std::string("a");
      });
      if (reply.response == "a") ++right;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(computed == 1);
  CHECK(right == 1000);
}

TEST_CASE_METHOD(Fixture, "the exception of the one that computes reaches all, or the next computes, as chosen") {
  for (const LeaderFailure what : {LeaderFailure::share, LeaderFailure::re_elect}) {
    options.leader_failure = what;
    Cache cache(options);
    std::atomic<int> computed{0};
    std::atomic<int> failed{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        try {
          cache.get_or_compute({.prompt = "q"}, [&]() -> std::string {
            if (++computed > 1) return "a";
            wait_until([&] { return cache.stats().lookups == 8; });
            std::this_thread::sleep_for(20ms);
            throw std::runtime_error("llm");
          });
        } catch (const std::runtime_error&) {
          ++failed;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(computed == (what == LeaderFailure::share ? 1 : 2));
    CHECK(failed == (what == LeaderFailure::share ? 8 : 1));
  }
}

TEST_CASE_METHOD(Fixture, "similar prompts in flight share one computation where that is asked for") {
  options.coalesce_similar = true;
  Cache cache(options);
  std::atomic<int> computed{0};
  std::atomic<bool> began{false};
  std::promise<void> go_on;
  std::shared_future<void> may = go_on.get_future().share();
  std::thread leader([&] {
    cache.get_or_compute({.prompt = "a b c"}, [&] {
      ++computed;
      began = true;
      may.wait();
      return std::string("answer");
    });
  });
  wait_until([&] { return began.load(); });
  const auto ask = [&](const std::string& prompt, const ScopeId& scope, std::chrono::nanoseconds timeout) {
    return cache.get_or_compute({prompt, scope, timeout}, [&] {
      ++computed;
      return std::string("own");
    });
  };
  CHECK(ask("quite another", {}, 10s).response == "own");
  CHECK(ask("c b a", Scope().tenant("x"), 10s).response == "own");  // of another scope
  CHECK(ask("b a c", {}, 30ms).response == "own");                  // has no more time
  Reply shared;
  std::thread similar([&] { shared = ask("c b a", {}, 10s); });
  std::this_thread::sleep_for(50ms);
  go_on.set_value();
  leader.join();
  similar.join();
  // "b a c" has been stored meanwhile; either answer was computed for a similar prompt.
  CHECK(shared.hit());
  CHECK(computed == 4);
  CHECK(cache.stats().misses + cache.stats().coalesced + cache.stats().semantic_hits == 5);
}
