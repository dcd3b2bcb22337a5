// Lookups with a timeout: parts that hang cost the time asked for, and not the request.
#include <chrono>
#include <thread>

#include "cache/fakes.hpp"
#include "cache/worker_pool.hpp"
#include "support.hpp"

using namespace promptcache;
using namespace std::chrono_literals;

namespace {

using test::Door;

class HangingEmbedder : public test::WordEmbedder {
 public:
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    door->pass();
    return WordEmbedder::embed(texts, out);
  }
  std::shared_ptr<Door> door = std::make_shared<Door>();
};

class HangingStore : public MemoryStore {
 public:
  EntryPointer find(const Digest& key) const override { return door->pass(), MemoryStore::find(key); }
  PutResult put(Entry entry) override { return door->pass(), MemoryStore::put(std::move(entry)); }
  std::shared_ptr<Door> door = std::make_shared<Door>();
};

struct Fixture {
  std::shared_ptr<HangingEmbedder> embedder = std::make_shared<HangingEmbedder>();
  std::shared_ptr<HangingStore> store = std::make_shared<HangingStore>();
  CacheOptions options{.embedder = embedder,
                       .policy = std::make_shared<ThresholdPolicy>(0.9),
                       .store = store,
                       .max_stuck = 2,
                       .closing_wait = 10ms};

  ~Fixture() {
    embedder->door->open();
    store->door->open();
  }
  static Request request(const std::string& prompt) { return {.prompt = prompt, .scope = {}, .timeout = 20ms}; }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "with a timeout everything works as without") {
  Cache cache(options);
  Request patient = request("a b c");
  patient.timeout = 10s;
  CHECK(cache.get_or_compute(patient, [] { return std::string("answer"); }).outcome == Outcome::miss);
  CHECK(cache.get_or_compute(patient, [] { return std::string("x"); }).outcome == Outcome::exact_hit);
  patient.prompt = "c b a";
  CHECK(cache.get_or_compute(patient, [] { return std::string("x"); }).response == "answer");
  CHECK(embedder->calls == 2);
  CHECK(cache.stats().timeouts == 0);
}

TEST_CASE_METHOD(Fixture, "an embedder that hangs makes misses with a reason, and exact matches go on") {
  Cache cache(options);
  embedder->door->shut();
  const Reply first = cache.get_or_compute(request("q1"), [] { return std::string("a1"); });
  CHECK(first.response == "a1");
  CHECK(first.decision.reason == Reason::timed_out);
  CHECK(cache.get_or_compute(request("q1"), [] { return std::string("x"); }).outcome == Outcome::exact_hit);
  // On a busy machine a request may time out before its embedding is begun.
  while (cache.stats().stuck < 2) CHECK(cache.lookup(request("q2")).decision().reason == Reason::timed_out);
  // As many hang as may: the next is not begun.
  CHECK(cache.lookup(request("q3")).decision().reason == Reason::overloaded);
  CHECK(cache.stats().rejections > 0);
  CHECK(to_prometheus(cache.stats()).find("promptcache_stuck 2\n") != std::string::npos);
  embedder->door->open();
  while (cache.stats().stuck > 0) std::this_thread::sleep_for(1ms);
  CHECK(cache.lookup(request("q4")).decision().reason == Reason::no_candidate);
}

TEST_CASE_METHOD(Fixture, "a store that hangs costs the request its place in the cache, not its response") {
  Cache cache(options);
  store->door->shut();
  const Reply reply = cache.get_or_compute(request("q"), [] { return std::string("a"); });
  CHECK(reply.response == "a");
  CHECK(reply.decision.reason == Reason::timed_out);
  CHECK(cache.stats().timeouts >= 2);
}

TEST_CASE_METHOD(Fixture, "who waits for another's computation waits no longer than its own timeout") {
  Cache cache(options);
  Lookup leader = cache.lookup({.prompt = "q"});
  const Reply own = cache.get_or_compute(request("q"), [] { return std::string("own"); });
  CHECK(own.outcome == Outcome::miss);
  CHECK(own.response == "own");
  CHECK(own.decision.reason == Reason::timed_out);
  CHECK(cache.insert(std::move(leader), "leader's"));
  CHECK(cache.lookup({.prompt = "q"}).reply().response == "leader's");
}

TEST_CASE_METHOD(Fixture, "a cache is destroyed though calls hang in it") {
  {
    Cache cache(options);
    embedder->door->shut();
    CHECK(cache.lookup(request("q")).miss());
  }
  CHECK(embedder.use_count() > 1);  // the call that hangs keeps it
  embedder->door->open();
  options.embedder = nullptr;
  while (embedder.use_count() > 1) std::this_thread::sleep_for(1ms);
}

TEST_CASE("a worker pool runs what fits, and drops what could not begin in time") {
  cache::WorkerPool pool(1);
  const auto soon = [] { return std::chrono::steady_clock::now() + 20ms; };
  const auto door = std::make_shared<Door>();
  const auto ran = std::make_shared<std::atomic<int>>(0);
  CHECK(pool.run([ran] { ++*ran; }, std::chrono::steady_clock::now() + 10s) == cache::WorkerPool::Result::done);
  door->shut();
  std::thread busy([&] { pool.run([door] { door->pass(); }, std::chrono::steady_clock::now() + 10s); });
  while (pool.stuck() == 0 && pool.run([ran] { ++*ran; }, soon()) == cache::WorkerPool::Result::done) {
  }
  const int before = *ran;
  CHECK(pool.run([ran] { *ran += 100; }, soon()) == cache::WorkerPool::Result::timed_out);
  door->open();
  busy.join();
  CHECK(pool.run([ran] { ++*ran; }, std::chrono::steady_clock::now() + 10s) == cache::WorkerPool::Result::done);
  CHECK(*ran == before + 1);
}
