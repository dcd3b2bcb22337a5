#include <fstream>

#include "cache/fakes.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

struct Fixture {
  std::shared_ptr<test::WordEmbedder> embedder = std::make_shared<test::WordEmbedder>();
  std::shared_ptr<test::RecordingPolicy> policy = std::make_shared<test::RecordingPolicy>(0.8);
  std::shared_ptr<test::FailingStore> store = std::make_shared<test::FailingStore>();
  std::vector<std::string> log;
  Cache cache{{.embedder = embedder, .policy = policy, .store = store, .log = [this](LogLevel, std::string_view text) {
                 log.emplace_back(text);
               }}};

  Reply get(const std::string& prompt, const std::string& answer, const ScopeId& scope = {}) {
    return cache.get_or_compute({prompt, scope}, [&] { return answer; });
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "the same prompt is an exact hit, a similar one a semantic hit, another a miss") {
  const Reply first = get("how tall is the tower", "300 m");
  CHECK(first.outcome == Outcome::miss);
  CHECK(first.response == "300 m");
  CHECK(first.decision.reason == Reason::no_candidate);

  const Reply exact = get("how tall is the tower", "wrong");
  CHECK(exact.outcome == Outcome::exact_hit);
  CHECK(exact.response == "300 m");
  CHECK(exact.decision.reason == Reason::exact_match);
  CHECK(exact.decision.timings.embed.count() == 0);

  const Reply similar = get("the tower is how tall", "wrong");
  CHECK(similar.outcome == Outcome::semantic_hit);
  CHECK(similar.response == "300 m");
  CHECK(similar.decision.reason == Reason::similar);
  CHECK(similar.decision.similarity == Approx(1).margin(1e-5));
  CHECK(similar.decision.threshold == 0.8);
  CHECK(similar.decision.entry == exact.decision.entry);
  CHECK(similar.decision.timings.embed.count() > 0);
  CHECK(similar.decision.id != exact.decision.id);

  const Reply other = get("who wrote this book", "nobody");
  CHECK(other.outcome == Outcome::miss);
  CHECK(other.decision.reason == Reason::not_similar);
  CHECK(other.decision.entry == exact.decision.entry);
  CHECK(other.decision.similarity < 0.8);

  const CacheStats stats = cache.stats();
  CHECK(stats.lookups == 4);
  CHECK(stats.exact_hits == 1);
  CHECK(stats.semantic_hits == 1);
  CHECK(stats.misses == 2);
  CHECK(stats.entries == 2);  // a hit adds nothing
  CHECK(stats.scopes == 1);
  CHECK(log.empty());
}

TEST_CASE_METHOD(Fixture, "scopes never see each other's entries") {
  get("how tall is the tower", "300 m", Scope().tenant("a"));
  CHECK(get("how tall is the tower", "b's", Scope().tenant("b")).response == "b's");
  CHECK(get("the tower is how tall", "c's", Scope().tenant("c")).outcome == Outcome::miss);
  CHECK(get("the tower is how tall", "", Scope().tenant("b")).response == "b's");
  CHECK(cache.stats().scopes == 3);
}

TEST_CASE_METHOD(Fixture, "the threshold is strict") {
  get("a b c", "first");
  // The same words give the same vector up to the order of sums, whose product may round to more than 1.
  Cache strict({.embedder = embedder, .policy = std::make_shared<ThresholdPolicy>(1.0)});
  strict.get_or_compute({.prompt = "a b c"}, [] { return std::string("first"); });
  for (const char* prompt : {"c b a", "b c a", "a c b", "a  b c", "c a b"}) {
    const Reply reply = strict.get_or_compute({.prompt = prompt}, [] { return std::string("second"); });
    CHECK(reply.response == "second");
    CHECK(reply.decision.similarity <= 1);
  }
}

TEST_CASE_METHOD(Fixture, "what the encoder cannot take in whole takes part in exact matches only") {
  for (const std::string& prompt :
       {std::string("a very long prompt"), std::string("a strange prompt"), std::string()}) {
    const Reply miss = get(prompt, "answer to " + prompt);
    CHECK(miss.outcome == Outcome::miss);
    CHECK(get(prompt, "").outcome == Outcome::exact_hit);
  }
  CHECK(get("a very long prompt ", "new").decision.reason == Reason::truncated);
  CHECK(get("prompt strange a", "new").decision.reason == Reason::unrepresented);
  CHECK(cache.stats().scopes == 0);
  CHECK(log.empty());
}

TEST_CASE_METHOD(Fixture, "a failing embedder makes a miss that says why, and the answer is still stored") {
  const Reply reply = get("please throw", "answer");
  CHECK(reply.outcome == Outcome::miss);
  CHECK(reply.response == "answer");
  CHECK(reply.decision.reason == Reason::embedder_failed);
  REQUIRE(log.size() == 1);
  CHECK(log[0].find("the embedder's own error") != std::string::npos);
  CHECK(get("please throw", "").outcome == Outcome::exact_hit);
  get("a b", "answer");
  CHECK(get("nan", "answer").decision.reason == Reason::index_failed);  // the first in its scope is not searched for
  CHECK(get("nan", "").outcome == Outcome::exact_hit);
}

TEST_CASE_METHOD(Fixture, "a failing policy or store makes a miss that says why") {
  get("a b c", "answer");
  policy->failing = true;
  CHECK(get("c b a", "new").decision.reason == Reason::policy_failed);
  policy->failing = false;
  store->failing = true;
  const Reply reply = get("a b c", "computed");
  CHECK(reply.response == "computed");
  CHECK(reply.decision.reason == Reason::store_failed);
  store->failing = false;
  CHECK(get("a b c", "").response == "answer");
  CHECK(cache.stats().failures == log.size());
  CHECK(log.size() >= 3);
}

TEST_CASE_METHOD(Fixture, "exceptions of the caller's function pass through and nothing is stored") {
  CHECK_THROWS_AS(cache.get_or_compute({.prompt = "q"}, []() -> std::string { throw std::domain_error("llm"); }),
                  std::domain_error);
  CHECK(cache.stats().entries == 0);
  CHECK(get("q", "answer").outcome == Outcome::miss);
}

TEST_CASE_METHOD(Fixture, "a response that is not cacheable is handed through") {
  const auto once = [&] {
    return cache.get_or_compute({.prompt = "time?"}, [] { return Response{.text = "now", .cacheable = false}; });
  };
  CHECK(once().response == "now");
  CHECK(once().outcome == Outcome::miss);
  CHECK(cache.stats().entries == 0);
}

TEST_CASE_METHOD(Fixture, "a wrong hit is removed and the policy is told") {
  get("how tall is the tower", "300 m");
  const Reply exact = get("how tall is the tower", "");
  const Reply similar = get("the tower is how tall", "");
  CHECK(cache.report(exact.decision.id, Feedback::right));
  CHECK(policy->observed.empty());  // nothing was decided by similarity
  CHECK(cache.report(similar.decision.id, Feedback::wrong));
  CHECK_FALSE(cache.report(similar.decision.id, Feedback::wrong));
  REQUIRE(policy->observed.size() == 1);
  CHECK_FALSE(policy->observed[0].second);
  CHECK(policy->observed[0].first.entry == similar.decision.entry);
  CHECK(cache.stats().entries == 0);
  CHECK(cache.stats().scopes == 0);
  CHECK(cache.stats().wrong_hits == 1);
  CHECK(get("the tower is how tall", "324 m").response == "324 m");
  CHECK_FALSE(cache.report(12345, Feedback::wrong));
}

TEST_CASE_METHOD(Fixture, "decisions are forgotten after the number asked for") {
  Cache small({.embedder = embedder, .policy = policy, .remembered_decisions = 2});
  const auto ask = [&] { return small.get_or_compute({.prompt = "q"}, [] { return std::string("a"); }).decision.id; };
  ask();
  const DecisionId first = ask();
  ask();
  const DecisionId third = ask();
  CHECK_FALSE(small.report(first, Feedback::right));
  CHECK(small.report(third, Feedback::right));
}

TEST_CASE_METHOD(Fixture, "evicted entries leave the index too") {
  auto bounded = std::make_shared<MemoryStore>(MemoryStoreOptions{.limits = {.max_entries = 2}});
  Cache small({.embedder = embedder, .policy = policy, .store = bounded});
  const auto ask = [&](const std::string& prompt) {
    return small.get_or_compute({.prompt = prompt}, [&] { return "answer to " + prompt; });
  };
  ask("one apple");
  ask("two pears");
  ask("three plums");
  CHECK(small.stats().evictions == 1);
  CHECK(small.stats().entries == 2);
  CHECK(ask("apple one").outcome == Outcome::miss);
  CHECK(ask("plums three").response == "answer to three plums");
}

TEST_CASE_METHOD(Fixture, "entries of another embedder are embedded again, left alone or refused, and never compared") {
  get("a b c", "answer");
  Cache again({.embedder = embedder, .policy = policy, .store = store});
  CHECK(again.lookup({.prompt = "c b a"}).hit());
  const auto other = std::make_shared<test::WordEmbedder>(32, "other");
  test::require_error(ErrorCode::mismatch, {"embedder"}, [&] {
    Cache({.embedder = other, .policy = policy, .store = store, .other_embedder = OtherEmbedder::refuse});
  });
  {
    Cache ignoring({.embedder = other, .policy = policy, .store = store, .other_embedder = OtherEmbedder::ignore});
    CHECK(ignoring.lookup({.prompt = "c b a"}).miss());
    CHECK(ignoring.lookup({.prompt = "a b c"}).miss());  // the key belongs to the embedder too
  }
  Cache re_embedding({.embedder = other, .policy = policy, .store = store});
  re_embedding.wait_for_re_embedding();
  CHECK(re_embedding.stats().to_re_embed == 0);
  CHECK(re_embedding.stats().entries == 1);
  CHECK(re_embedding.lookup({.prompt = "c b a"}).reply().response == "answer");
  CHECK(re_embedding.lookup({.prompt = "a b c"}).reply().outcome == Outcome::exact_hit);
}

TEST_CASE("a cache without embedder or policy is refused") {
  test::require_error(ErrorCode::usage, {"CacheOptions.embedder"},
                      [] { Cache({.embedder = {}, .policy = std::make_shared<ThresholdPolicy>(0.9)}); });
  test::require_error(ErrorCode::usage, {"CacheOptions.policy"},
                      [] { Cache({.embedder = std::make_shared<test::WordEmbedder>(), .policy = {}}); });
}

TEST_CASE("the real MiniLM serves a paraphrase and refuses another question") {
  PROMPTCACHE_REQUIRE_MINILM();
  Cache cache({.embedder = TransformerEmbedder::open(test::minilm_directory()),
               .policy = std::make_shared<ThresholdPolicy>(0.8)});
  cache.get_or_compute({.prompt = "How do I reset my password?"}, [] { return std::string("Click 'forgot'."); });
  CHECK(cache.lookup({.prompt = "how do i reset my password"}).hit());
  CHECK(cache.lookup({.prompt = "How can I reset my password?"}).hit());
  CHECK(cache.lookup({.prompt = "How do I close my account?"}).miss());
  std::string novel;
  for (int i = 0; i < 400; ++i) novel += "word ";
  CHECK(cache.lookup({.prompt = novel}).decision().reason == Reason::truncated);
}
