// Lifetime, invalidation and feedback of entries.
#include "cache/fakes.hpp"
#include "support.hpp"

using namespace promptcache;
using std::chrono::milliseconds;

namespace {

struct Fixture {
  std::shared_ptr<test::WordEmbedder> embedder = std::make_shared<test::WordEmbedder>();
  std::shared_ptr<test::RecordingPolicy> policy = std::make_shared<test::RecordingPolicy>(0.8);
  std::shared_ptr<EntryStore> store = std::make_shared<MemoryStore>();
  int now = 1000;
  CacheOptions options{.embedder = embedder, .policy = policy, .store = store, .clock = [this] {
                         return Entry::TimePoint(milliseconds(now));
                       }};

  static Outcome ask(Cache& cache, const std::string& prompt, const std::string& answer, const ScopeId& scope = {}) {
    return cache.get_or_compute({prompt, scope}, [&] { return answer; }).outcome;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "an entry is served until its time is over, a hit does not extend it") {
  options.ttl = milliseconds(100);
  Cache cache(options);
  ask(cache, "a b c", "first");
  now += 99;
  CHECK(ask(cache, "a b c", "second") == Outcome::exact_hit);
  CHECK(ask(cache, "c b a", "second") == Outcome::semantic_hit);
  now += 1;
  CHECK(cache.stats().entries == 1);
  CHECK(ask(cache, "c b a", "second") == Outcome::miss);
  CHECK(cache.stats().expirations == 1);
  CHECK(cache.stats().entries == 1);
  CHECK(ask(cache, "a b c", "third") == Outcome::semantic_hit);
}

TEST_CASE_METHOD(Fixture, "a response's own TTL counts, and the absolute age whatever else") {
  options.ttl = milliseconds(100);
  options.max_age = milliseconds(500);
  Cache cache(options);
  const auto store_for = [&](const std::string& prompt, int ttl) {
    return cache.insert(cache.lookup({.prompt = prompt}), Response{.text = "x", .ttl = milliseconds(ttl)});
  };
  store_for("short", 10);
  store_for("endless", 100'000);
  CHECK_FALSE(store_for("never", 0));
  now += 10;
  CHECK(cache.lookup({.prompt = "short"}).miss());
  now += 489;
  CHECK(cache.lookup({.prompt = "endless"}).hit());
  now += 1;
  CHECK(cache.lookup({.prompt = "endless"}).miss());
}

TEST_CASE_METHOD(Fixture, "a hit extends where it is asked to, up to the absolute age") {
  options.ttl = milliseconds(100);
  options.max_age = milliseconds(250);
  options.extend_on_hit = true;
  Cache cache(options);
  ask(cache, "q", "a");
  for (int i = 0; i < 3; ++i) {
    now += 80;
    CHECK(ask(cache, "q", "b") == Outcome::exact_hit);
  }
  now += 10;  // 250 in all
  CHECK(ask(cache, "q", "b") == Outcome::miss);
}

TEST_CASE_METHOD(Fixture, "expired entries go with later inserts, though nobody asks for them") {
  options.ttl = milliseconds(100);
  Cache cache(options);
  for (int i = 0; i < 20; ++i) ask(cache, "word" + std::to_string(i), "a");
  now += 100;
  ask(cache, "another", "a");
  CHECK(cache.stats().entries == 1);
  CHECK(cache.stats().expirations == 20);
}

TEST_CASE_METHOD(Fixture, "entries are invalidated by what they are") {
  Cache cache(options);
  const auto put = [&](const std::string& prompt, const Scope& scope, std::vector<std::string> tags) {
    return *cache.insert(cache.lookup({.prompt = prompt, .scope = scope}),
                         Response{.text = "x", .tags = std::move(tags)});
  };
  const Scope a = Scope().tenant("a").model("llama-3.1");
  const Scope b = Scope().tenant("b").model("llama-3.2");
  const EntryId first = put("one", a, {"red"});
  put("two", a, {"red", "blue"});
  now += 10;
  put("three", b, {"blue"});
  put("four", b, {});

  CHECK(cache.invalidate({.tag = "red"}, true) == 2);
  CHECK(cache.invalidate({.tag = "red", .fields = Scope().model("llama-3.2")}, true) == 0);
  CHECK(cache.invalidate({.fields = Scope().model("llama-3")}, true) == 4);
  CHECK(cache.invalidate({.fields = Scope().model("llama-3.2").tenant("")}, true) == 2);
  CHECK(cache.invalidate({.stored_before = Entry::TimePoint(milliseconds(now))}, true) == 2);
  CHECK(cache.invalidate({.everything = true}, true) == 4);
  CHECK(cache.stats().entries == 4);
  test::require_error(ErrorCode::usage, {"condition"}, [&] { cache.invalidate({}); });

  CHECK(cache.invalidate({.entry = first}) == 1);
  CHECK(cache.lookup({.prompt = "one", .scope = a}).miss());
  CHECK(cache.invalidate({.scope = ScopeId(b)}) == 2);
  CHECK(cache.lookup({.prompt = "three", .scope = b}).miss());
  CHECK(cache.lookup({.prompt = "two", .scope = a}).hit());
  CHECK(cache.stats().invalidations == 3);
}

TEST_CASE_METHOD(Fixture, "a response computed while it was invalidated is not stored, nor given to those who wait") {
  Cache cache(options);
  const Scope scope = Scope().tenant("a");
  Lookup leader = cache.lookup({.prompt = "q", .scope = scope});
  Lookup waiter = cache.lookup({.prompt = "q", .scope = scope});
  Lookup unrelated = cache.lookup({.prompt = "q", .scope = Scope().tenant("b")});
  now += 1;
  SECTION("by its scope") { cache.invalidate({.scope = ScopeId(scope)}); }
  SECTION("by its tag") { cache.invalidate({.tag = "red"}); }
  SECTION("by its age") {
    cache.invalidate({.scope = ScopeId(scope), .stored_before = Entry::TimePoint(milliseconds(now))});
  }
  SECTION("by one of many") {
    for (int i = 0; i < 1200; ++i) cache.invalidate({.tag = "other"});
    unrelated = cache.lookup({.prompt = "q2"});
  }
  CHECK_FALSE(cache.insert(std::move(leader), Response{.text = "stale", .tags = {"red"}}));
  CHECK(cache.stats().entries == 0);
  CHECK(cache.stats().dropped == 1);
  CHECK(waiter.miss());
  CHECK(cache.insert(std::move(unrelated), "fresh"));
  CHECK(cache.insert(cache.lookup({.prompt = "q", .scope = scope}), Response{.text = "new", .tags = {"red"}}));
}

TEST_CASE_METHOD(Fixture, "a wrong hit does not come back with the next entry of the same prompt") {
  Cache cache(options);
  ask(cache, "a b c", "wrong for the other");
  const Reply hit = cache.get_or_compute({.prompt = "c b a"}, [] { return std::string("x"); });
  REQUIRE(hit.outcome == Outcome::semantic_hit);
  CHECK(cache.report(hit.decision.id, Feedback::wrong));
  CHECK_FALSE(cache.report(hit.decision.id, Feedback::wrong));
  CHECK_FALSE(cache.report(cache.token(hit.decision), Feedback::wrong));
  CHECK(cache.stats().entries == 0);
  ask(cache, "a b c", "stored again");
  const Lookup again = cache.lookup({.prompt = "c b a"});
  CHECK(again.miss());
  CHECK(again.decision().reason == Reason::reported_wrong);
  CHECK(ask(cache, "b c a", "x") == Outcome::semantic_hit);  // only this pair is known to be wrong
  REQUIRE(policy->observed.size() == 1);
  CHECK_FALSE(policy->observed[0].second);
}

TEST_CASE_METHOD(Fixture, "a hit is judged by its token from another cache on the store") {
  options.secret = "secret";
  std::string token;
  {
    Cache cache(options);
    ask(cache, "a b c", "answer");
    CHECK(cache.token(cache.lookup({.prompt = "no hit"}).decision()).empty());
    token = cache.token(cache.lookup({.prompt = "c b a"}).decision());
  }
  INFO(token);
  CHECK(token.size() == 260);
  {
    CacheOptions without = options;
    without.secret = "another";
    Cache cache(without);
    test::require_error(ErrorCode::mismatch, {"signature"}, [&] { cache.report(token, Feedback::wrong); });
    test::require_error(ErrorCode::format, {"token"}, [&] { cache.report("abc", Feedback::wrong); });
    test::require_error(ErrorCode::format, {"token"}, [&] { cache.report(std::string(260, 'g'), Feedback::wrong); });
    CHECK(cache.lookup({.prompt = "a b c"}).miss());  // keys are under the secret
  }
  {
    CacheOptions elsewhere = options;
    elsewhere.store = std::make_shared<MemoryStore>();
    Cache cache(elsewhere);
    test::require_error(ErrorCode::mismatch, {"store"}, [&] { cache.report(token, Feedback::wrong); });
  }
  Cache cache(options);
  std::string forged = token;
  forged[50] = forged[50] == '0' ? '1' : '0';
  test::require_error(ErrorCode::mismatch, {"signature"}, [&] { cache.report(forged, Feedback::wrong); });
  CHECK(store->size() == 1);
  CHECK(cache.report(token, Feedback::wrong));
  CHECK(store->size() == 0);
  CHECK_FALSE(cache.report(token, Feedback::wrong));
  REQUIRE(policy->observed.size() == 1);
  CHECK(policy->observed[0].first.similarity == Approx(1).margin(1e-5));
}

TEST_CASE_METHOD(Fixture, "records of decisions are told of each lookup and read back to the bit") {
  std::vector<std::string> lines;
  options.on_decision = [&](const DecisionRecord& record) { lines.push_back(to_json(record)); };
  Cache cache(options);
  ask(cache, "a b c", "1");
  ask(cache, "a b c", "2");
  ask(cache, "c b a", "3");
  ask(cache, "quite another", "4");
  REQUIRE(lines.size() == 4);
  for (const std::string& line : lines) CHECK(to_json(decision_record_from_json(line, "line")) == line);
  const DecisionRecord similar = decision_record_from_json(lines[2], "line");
  CHECK(similar.outcome == Outcome::semantic_hit);
  CHECK(policy->decide({similar.decision.entry, similar.decision.similarity, similar.decision.next_similarity}).serve);
  CHECK(lines[2].find("c b a") == std::string::npos);
  for (const char* broken : {"", "[]", "{}", "{\"time\": 1}"}) {
    test::require_error(ErrorCode::format, {"log:3"}, [&] { decision_record_from_json(broken, "log:3"); });
  }
}

TEST_CASE_METHOD(Fixture, "the statistics are a page for Prometheus") {
  Cache cache(options);
  ask(cache, "a b c", "1");
  ask(cache, "a b c", "2");
  const std::string page = to_prometheus(cache.stats(), "cache=\"x\"");
  INFO(page);
  for (const char* line :
       {"promptcache_lookups_total{cache=\"x\"} 2\n", "promptcache_hits_total{cache=\"x\",kind=\"exact\"} 1\n",
        "promptcache_misses_total{cache=\"x\",reason=\"no_candidate\"} 1\n",
        "promptcache_stage_seconds_count{cache=\"x\",stage=\"embed\"} 1\n",
        "promptcache_stage_seconds_bucket{cache=\"x\",stage=\"embed\",le=\"+Inf\"} 1\n",
        "# TYPE promptcache_stage_seconds histogram\n"}) {
    CHECK(page.find(line) != std::string::npos);
  }
  CHECK(to_prometheus(cache.stats()).find("promptcache_entries 1\n") != std::string::npos);
}
