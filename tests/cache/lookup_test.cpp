#include <atomic>
#include <thread>

#include "cache/fakes.hpp"
#include "support.hpp"

using namespace promptcache;
using namespace std::chrono_literals;

namespace {

CacheOptions options() {
  return {.embedder = std::make_shared<test::WordEmbedder>(), .policy = std::make_shared<ThresholdPolicy>(0.8)};
}

}  // namespace

TEST_CASE("the two steps embed once and store the response") {
  const auto embedder = std::make_shared<test::WordEmbedder>();
  Cache cache({.embedder = embedder, .policy = std::make_shared<ThresholdPolicy>(0.8)});
  Lookup ticket = cache.lookup({.prompt = "a b"});
  REQUIRE(ticket.miss());
  CHECK_FALSE(ticket.in_flight());
  CHECK(cache.insert(std::move(ticket), "answer").has_value());
  CHECK(embedder->calls == 1);
  const Lookup hit = cache.lookup({.prompt = "b a"});
  REQUIRE(hit.hit());
  CHECK(hit.reply().response == "answer");
}

TEST_CASE("misused tickets are refused by name") {
  Cache cache(options());
  Lookup ticket = cache.lookup({.prompt = "a"});
  test::require_error(ErrorCode::usage, {"a miss", "a hit"}, [&] { ticket.reply(); });
  Lookup second = cache.lookup({.prompt = "a"});
  CHECK(second.in_flight());
  CHECK(second.decision().reason == Reason::in_flight);
  test::require_error(ErrorCode::usage, {"in flight"}, [&] { second.reply(); });
  test::require_error(ErrorCode::usage, {"still in flight"}, [&] { cache.insert(std::move(second), "x"); });
  Cache other(options());
  CHECK(cache.insert(std::move(ticket), "answer").has_value());
  // NOLINTNEXTLINE(bugprone-use-after-move): the very mistake
  test::require_error(ErrorCode::usage, {"used or moved from"}, [&] { cache.insert(std::move(ticket), "again"); });
  test::require_error(ErrorCode::usage, {"used or moved from"}, [&] { ticket.hit(); });
  test::require_error(ErrorCode::usage, {"the ticket of a hit"},
                      [&] { cache.insert(cache.lookup({.prompt = "a"}), "x"); });
  test::require_error(ErrorCode::usage, {"another cache"}, [&] { other.insert(cache.lookup({.prompt = "b"}), "x"); });
  CHECK(cache.lookup({.prompt = "b"}).miss());  // the misused ticket gave up its lead
}

TEST_CASE("a ticket outlives its cache, and inserting then throws") {
  auto cache = std::make_unique<Cache>(options());
  Lookup leads = cache->lookup({.prompt = "a"});
  Lookup waits = cache->lookup({.prompt = "a"});
  bool told = false;
  waits.on_settled([&] { told = true; });
  cache.reset();
  CHECK(told);
  CHECK(leads.miss());
  CHECK(waits.miss());
  test::require_error(ErrorCode::closed, {"a cache that is gone"}, [&] { leads.insert({"x"}); });
  test::require_error(ErrorCode::closed, {"a cache that is gone"}, [&] { waits.insert({"x"}); });
}

TEST_CASE("those in flight get the leader's response") {
  Cache cache(options());
  Lookup leader = cache.lookup({.prompt = "a"});
  Lookup waits = cache.lookup({.prompt = "a"});
  Lookup called = cache.lookup({.prompt = "a"});
  Lookup polls = cache.lookup({.prompt = "a"});
  std::atomic<int> calls{0};
  called.on_settled([&] { ++calls; });
  CHECK_FALSE(waits.wait_for(1ms));
  CHECK(calls == 0);
  std::thread thread([&] { waits.wait(); });
  cache.insert(std::move(leader), "answer");
  thread.join();
  CHECK(calls == 1);
  for (Lookup* ticket : {&waits, &called, &polls}) {
    REQUIRE(ticket->hit());
    CHECK(ticket->reply().response == "answer");
    CHECK(ticket->reply().outcome == Outcome::coalesced);
    CHECK(ticket->decision().entry != 0);
  }
  polls.on_settled([&] { ++calls; });  // settled already: at once
  CHECK(calls == 2);
  CHECK(cache.stats().coalesced == 3);
  CHECK(cache.report(waits.decision().id, Feedback::wrong));
  CHECK(cache.stats().entries == 0);
}

TEST_CASE("when the leader gives up, one who waits is elected, and the rest get its response") {
  const auto embedder = std::make_shared<test::WordEmbedder>();
  Cache cache({.embedder = embedder, .policy = std::make_shared<ThresholdPolicy>(0.8)});
  auto leader = std::make_unique<Lookup>(cache.lookup({.prompt = "a b"}));
  Lookup passive = cache.lookup({.prompt = "a b"});
  Lookup first = cache.lookup({.prompt = "a b"});
  Lookup second = cache.lookup({.prompt = "a b"});
  int first_calls = 0;
  int second_calls = 0;
  first.on_settled([&] { ++first_calls; });
  second.on_settled([&] { ++second_calls; });
  leader.reset();
  CHECK(first_calls == 1);
  CHECK(second_calls == 0);
  CHECK(first.miss());
  CHECK(second.in_flight());
  CHECK(passive.in_flight());  // nobody looks at this one: it is not elected before others
  cache.insert(std::move(first), "answer");
  CHECK(second_calls == 1);
  CHECK(second.reply().response == "answer");
  CHECK(passive.reply().response == "answer");
  CHECK(cache.lookup({.prompt = "b a"}).hit());  // the elected one embedded before it stored
}

TEST_CASE("a flight without leader is taken by whoever waits or comes next") {
  Cache cache(options());
  auto leader = std::make_unique<Lookup>(cache.lookup({.prompt = "a"}));
  Lookup passive = cache.lookup({.prompt = "a"});
  SECTION("the one who waits") {
    leader.reset();
    CHECK(passive.wait_for(1s));
    CHECK(passive.miss());
  }
  SECTION("the one who comes") {
    leader.reset();
    Lookup next = cache.lookup({.prompt = "a"});
    CHECK(next.miss());
    CHECK(passive.in_flight());
    cache.insert(std::move(next), "answer");
    CHECK(passive.hit());
  }
  SECTION("the one who was blocked meanwhile") {
    std::thread thread([&] { leader.reset(); });
    passive.wait();
    thread.join();
    CHECK(passive.miss());
  }
}

TEST_CASE("a response that is not cacheable sets everybody free") {
  Cache cache(options());
  Lookup leader = cache.lookup({.prompt = "a"});
  Lookup first = cache.lookup({.prompt = "a"});
  Lookup second = cache.lookup({.prompt = "a"});
  CHECK_FALSE(cache.insert(std::move(leader), Response{.text = "now", .cacheable = false}));
  CHECK(first.miss());
  CHECK(second.miss());
  CHECK(cache.insert(std::move(first), "answer"));
  CHECK(cache.insert(std::move(second), "answer"));  // replaces
  CHECK(cache.stats().entries == 1);
}

TEST_CASE("a moved ticket keeps its seat, an overwritten one gives it up") {
  Cache cache(options());
  Lookup a = cache.lookup({.prompt = "a"});
  Lookup b = std::move(a);
  CHECK(b.miss());
  b = cache.lookup({.prompt = "b"});
  CHECK(cache.lookup({.prompt = "a"}).miss());
  CHECK(cache.lookup({.prompt = "b"}).in_flight());
}

TEST_CASE("identical requests of many threads compute once; a failing leader's work is taken over") {
  constexpr int threads = 32;
  Cache cache(options());
  std::atomic<int> computed{0};
  std::atomic<int> failed{0};
  std::atomic<int> right{0};
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&] {
      try {
        const Reply reply = cache.get_or_compute({.prompt = "a"}, [&] {
          std::this_thread::sleep_for(5ms);
          if (++computed <= 2) throw std::runtime_error("llm");
          return std::string("answer");
        });
        if (reply.response == "answer") ++right;
      } catch (const std::runtime_error&) {
        ++failed;
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  CHECK(computed == 3);
  CHECK(failed == 2);
  CHECK(right == threads - 2);
}

TEST_CASE("a computation that asks for its own prompt is told so instead of waiting for ever") {
  Cache cache(options());
  test::require_error(ErrorCode::usage, {"this thread is computing"}, [&] {
    cache.get_or_compute({.prompt = "a"}, [&] {
      return cache.get_or_compute({.prompt = "a"}, [] { return std::string("never"); }).response;
    });
  });
  CHECK(cache
            .get_or_compute(
                {.prompt = "b"},
                [&] { return cache.get_or_compute({.prompt = "c"}, [] { return std::string("inner"); }).response; })
            .response == "inner");
}
