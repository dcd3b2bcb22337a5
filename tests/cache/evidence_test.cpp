// What the cache tells a policy of a candidate: guards, pair scorer, neighbours, lengths.
#include <thread>

#include "cache/fakes.hpp"
#include "support.hpp"

using namespace promptcache;
using namespace std::chrono_literals;

namespace {

/// Serves by similarity, or by the pair's logit where there is one; wants it above 0.5.
class AskingPolicy : public CachePolicy {
 public:
  Decision decide(const Evidence& evidence) const override {
    last = evidence;
    Decision decision;
    decision.similarity = evidence.similarity;
    decision.serve = evidence.pair_logit ? *evidence.pair_logit > 0 : evidence.similarity > 0.999;
    decision.reason = decision.serve ? Reason::similar : Reason::not_similar;
    return decision;
  }
  bool wants_pair_logit(const Evidence& evidence) const override { return evidence.similarity > 0.5; }
  bool wants_guards() const override { return weighs_guards; }
  std::string describe() const override { return "asks"; }

  mutable Evidence last;
  bool weighs_guards = false;
};

/// Likes pairs that share their first word; "slow" waits at the door, other words misbehave as in `WordEmbedder`.
class FirstWordScorer : public PairScorer {
 public:
  Digest identity() const override { return sha256("first word"); }
  PairReport score(std::span<const TextPair> pairs, std::span<float> logits) const override {
    PairReport report;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      ++calls;
      const auto has = [&](std::string_view word) { return pairs[i].first.find(word) != std::string_view::npos; };
      if (has("slow")) door.pass();
      if (has("bad")) throw std::runtime_error("the scorer's own error");
      if (has("wide")) report.truncated.push_back(i);
      const auto first = [](std::string_view text) { return text.substr(0, text.find(' ')); };
      logits[i] = has("nil")                                        ? std::numeric_limits<float>::quiet_NaN()
                  : first(pairs[i].first) == first(pairs[i].second) ? 3.0F
                                                                    : -3.0F;
    }
    return report;
  }
  mutable std::atomic<int> calls{0};
  mutable test::Door door;
};

struct Fixture {
  std::shared_ptr<AskingPolicy> policy = std::make_shared<AskingPolicy>();
  std::shared_ptr<FirstWordScorer> scorer = std::make_shared<FirstWordScorer>();
  std::vector<std::string> log;
  std::vector<DecisionRecord> records;
  CacheOptions options{.embedder = std::make_shared<test::WordEmbedder>(),
                       .policy = policy,
                       .guards = Guards::english(),
                       .pair_scorer = scorer,
                       .closing_wait = 10ms,
                       .log = [this](LogLevel, std::string_view text) { log.emplace_back(text); },
                       .on_decision = [this](const DecisionRecord& record) { records.push_back(record); }};
  ~Fixture() { scorer->door.open(); }

  static Reply get(Cache& cache, const std::string& prompt, const std::string& answer) {
    return cache.get_or_compute({.prompt = prompt}, [&] { return answer; });
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "the pair scorer is asked where the policy wants to know, and decides") {
  Cache cache(options);
  get(cache, "tower height in metres please", "300 m");
  CHECK(scorer->calls == 0);
  const Reply liked = get(cache, "tower please in metres height", "-");
  CHECK(liked.outcome == Outcome::semantic_hit);
  CHECK(liked.decision.evidence.pair_logit == 3.0);
  CHECK(liked.decision.timings.score.count() > 0);
  CHECK(get(cache, "metres tower height in please", "x").outcome == Outcome::miss);
  CHECK(scorer->calls == 2);
  CHECK(policy->last.prompt_bytes == 29);
  CHECK(policy->last.candidate_bytes == 29);
  CHECK(policy->last.coin == 1);  // it does not audit
  get(cache, "who wrote this", "nobody");
  CHECK(scorer->calls == 2);
  const CacheStats stats = cache.stats();
  CHECK(stats.pair_scores == 2);
  CHECK(stats.pair_scores_skipped == 0);
  CHECK(stats.score.count() == 2);
  CHECK(to_prometheus(stats).find("pair_scores_total{asked=\"yes\"} 2\n") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "a scorer that fails, or has not read it all, leaves the decision to the first stage") {
  Cache cache(options);
  get(cache, "tower height bad wide nil", "300 m");
  for (const char* prompt : {"tower bad height", "tower wide height nil bad bad"}) {
    INFO(prompt);
    get(cache, prompt, "x");
    CHECK_FALSE(policy->last.pair_logit);
  }
  CHECK(log.at(0).find("pair scorer failed: the scorer's own error; decided without it") != std::string::npos);
  get(cache, "tower nil height wide", "y");
  CHECK_FALSE(policy->last.pair_logit);
  CHECK(log.back().find("no number") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "when time is short the scorer is not asked, and when it hangs the lookup is given up") {
  Cache cache(options);
  const auto ask = [&](const std::string& prompt, std::chrono::milliseconds timeout) {
    return cache.get_or_compute({.prompt = prompt, .scope = {}, .timeout = timeout}, [] { return std::string("x"); });
  };
  ask("tower height slow please", 5s);
  scorer->door.shut();
  CHECK(ask("tower slow height please", 60ms).decision.reason == Reason::timed_out);
  scorer->door.open();
  // That call's time is known once it returns; a shorter timeout does not bear another like it.
  for (int i = 0; i < 2000 && cache.stats().stuck > 0; ++i) std::this_thread::sleep_for(1ms);
  const int before = scorer->calls;
  CHECK(ask("tower height please slow", 20ms).decision.reason == Reason::similar);  // similarity 1 suffices
  CHECK_FALSE(policy->last.pair_logit);
  CHECK(scorer->calls == before);
  CHECK(cache.stats().pair_scores_skipped == 1);
  // Forgotten in time.
  for (int i = 0; i < 200 && scorer->calls == before; ++i) ask("slow tower height please " + std::to_string(i), 20ms);
  CHECK(scorer->calls > before);
}

TEST_CASE_METHOD(Fixture, "a vetoed candidate is passed over for the next, and a finding that does not veto is told") {
  GuardOptions vetoing = GuardOptions::all(GuardAction::flag);
  vetoing.set(GuardKind::number, GuardAction::veto);
  options.guards = Guards::english(vetoing);
  options.pair_scorer = nullptr;
  Cache cache(options);
  get(cache, "how do I boil 5 eggs", "five");
  const Reply vetoed = get(cache, "how do I boil 7 eggs", "seven");
  CHECK(vetoed.decision.reason == Reason::vetoed);
  CHECK(vetoed.decision.evidence.entry == 0);  // the policy was not asked
  CHECK(cache.stats().misses_by_reason[static_cast<std::size_t>(Reason::vetoed)] == 1);
  const Reply second = get(cache, "7 eggs how do I boil", "-");
  CHECK(second.response == "seven");
  CHECK(second.decision.evidence.guards == 0);
  CHECK(second.decision.next_similarity.value() < 1);  // guards look at the best alone
  get(cache, "how do I boil 7 ducks", "ducks");
  CHECK(policy->last.guards.has_value());
}

TEST_CASE_METHOD(Fixture, "the share of neighbours with the same response is told, and the next similarity") {
  options.guards = nullptr;
  options.pair_scorer = nullptr;
  Cache cache(options);
  get(cache, "sentiment of red apple pie", "good");
  CHECK_FALSE(policy->last.agreement);
  get(cache, "sentiment of red apple tart", "good");
  CHECK_FALSE(policy->last.agreement);  // of one candidate alone
  get(cache, "sentiment of red apple crumble", "bad");
  CHECK(policy->last.agreement == 1.0);
  const Reply reply = get(cache, "pie apple red of sentiment", "-");
  CHECK(reply.outcome == Outcome::semantic_hit);
  CHECK(policy->last.agreement == 0.5);
  CHECK(reply.decision.next_similarity == policy->last.next_similarity);
  CHECK(*policy->last.next_similarity < 0.999);
}

TEST_CASE_METHOD(Fixture, "records hold all that a decision was made from") {
  Cache cache(options);
  get(cache, "tower height in metres please", "300 m");
  get(cache, "tower please in metres height", "-");
  get(cache, "metres tower height in please", "x");
  get(cache, "tower height in metres please", "-");
  REQUIRE(records.size() == 4);
  for (const DecisionRecord& record : records) {
    const DecisionRecord again = decision_record_from_json(to_json(record), "here");
    CHECK(to_json(again) == to_json(record));
    const Evidence& evidence = again.decision.evidence;
    CHECK(evidence.pair_logit == record.decision.evidence.pair_logit);
    if (evidence.entry != 0) CHECK(policy->decide(evidence).serve == record.decision.serve);
  }
  CHECK(records[1].decision.evidence.entry != 0);
  CHECK(records[3].decision.evidence.entry == 0);
}

TEST_CASE_METHOD(Fixture, "a policy that weighs guards is refused without them") {
  policy->weighs_guards = true;
  options.guards = nullptr;
  test::require_error(ErrorCode::usage, {"CacheOptions.guards", "weighs"}, [&] { Cache cache(options); });
}
