// A policy that audits, in the cache: who is asked, what is compared, and what the policy is told.
#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "cache/fakes.hpp"
#include "support.hpp"

using namespace promptcache;
using namespace std::chrono_literals;

namespace {

/// Serves above a similarity, and audits a share of that by the coin; remembers its verdicts.
class AuditingPolicy : public CachePolicy {
 public:
  explicit AuditingPolicy(double share) : share_(share) {}

  Decision decide(const Evidence& evidence) const override {
    Decision decision;
    decision.similarity = evidence.similarity;
    const bool takes = evidence.similarity > 0.8 && evidence.coin >= 0 && evidence.coin < 1;
    decision.serve = takes && evidence.coin >= share_;
    decision.reason = !takes ? Reason::not_similar : decision.serve ? Reason::similar : Reason::audited;
    decision.audit_probability = share_;
    return decision;
  }
  bool audits() const override { return true; }
  void record(const Evidence& evidence, Decision& decision) override {
    if (failing) throw std::runtime_error("unrecorded");
    const std::lock_guard lock(mutex_);
    ++recorded_;
    coins_.push_back(evidence.coin);
    if (decision.reason == Reason::audited) decision.audit = ++last_;
  }
  void judged(std::uint64_t audit, Verdict verdict) override {
    const std::lock_guard lock(mutex_);
    CHECK(verdicts_.emplace(audit, verdict).second);
  }
  std::string describe() const override { return "audits"; }

  std::map<std::uint64_t, Verdict> verdicts() const {
    const std::lock_guard lock(mutex_);
    return verdicts_;
  }
  std::vector<double> coins() const {
    const std::lock_guard lock(mutex_);
    return coins_;
  }
  std::size_t recorded() const {
    const std::lock_guard lock(mutex_);
    return recorded_;
  }
  std::atomic<bool> failing{false};

 private:
  double share_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Verdict> verdicts_;
  std::vector<double> coins_;
  std::size_t recorded_ = 0;
  std::uint64_t last_ = 0;
};

/// What a judge was asked, and a door before each answer.
class AskedJudge : public Judge {
 public:
  std::optional<bool> same(std::string_view prompt, std::string_view stored, std::string_view fresh) const override {
    ++entered;
    door.pass();
    if (fresh == "throw") throw std::runtime_error("no idea");
    if (fresh == "unsure") return std::nullopt;
    const std::lock_guard lock(mutex);
    asked.emplace_back(std::string(prompt) + "|" + std::string(stored) + "|" + std::string(fresh));
    return stored == fresh;
  }
  mutable std::atomic<int> entered{0};
  mutable test::Door door;
  mutable std::mutex mutex;
  mutable std::vector<std::string> asked;
};

struct Fixture {
  explicit Fixture(double share = 1) : policy(std::make_shared<AuditingPolicy>(share)) { make(); }
  ~Fixture() { judge->door.open(); }

  void make() {
    cache = std::make_unique<Cache>(CacheOptions{.embedder = std::make_shared<test::WordEmbedder>(),
                                                 .policy = policy,
                                                 .judge = judge,
                                                 .coalesce_similar = true,
                                                 .closing_wait = 20ms});
  }
  Reply get(const std::string& prompt, const std::string& answer) {
    return cache->get_or_compute({.prompt = prompt}, [&] { return answer; });
  }

  /// The same for a response that is not stored.
  void compute(const std::string& prompt, const std::string& answer) {
    cache->get_or_compute({.prompt = prompt}, [&] { return Response{.text = answer, .cacheable = false}; });
  }

  std::shared_ptr<AuditingPolicy> policy;
  std::shared_ptr<AskedJudge> judge = std::make_shared<AskedJudge>();
  std::unique_ptr<Cache> cache;
};

}  // namespace

TEST_CASE("an audited request is a miss, and its response is compared with the candidate's") {
  Fixture fixture;
  fixture.get("how tall is the tower", "300 m");
  CHECK(fixture.policy->recorded() == 0);  // no candidate, nothing to decide
  const Reply right = fixture.get("the tower is how tall", "300 m");
  CHECK(right.outcome == Outcome::miss);
  CHECK(right.decision.reason == Reason::audited);
  CHECK(right.decision.audit == 1);
  CHECK(right.decision.audit_probability == 1.0);
  CHECK(right.response == "300 m");
  const Reply wrong = fixture.get("tall is the tower how", "301 m");
  CHECK(wrong.decision.audit == 2);
  fixture.cache->wait_for_verdicts();
  CHECK(fixture.policy->verdicts() == std::map<std::uint64_t, Verdict>{{1, Verdict::right}, {2, Verdict::wrong}});
  CHECK(fixture.judge->asked ==
        std::vector<std::string>{"the tower is how tall|300 m|300 m", "tall is the tower how|300 m|301 m"});
  CHECK(fixture.cache->stats().misses_by_reason[static_cast<std::size_t>(Reason::audited)] == 2);
  CHECK(fixture.get("who wrote this book", "nobody").decision.reason == Reason::not_similar);
  CHECK(fixture.policy->recorded() == 3);  // every decision is
  CHECK(fixture.get("how tall is the tower", "-").outcome == Outcome::exact_hit);
  CHECK(fixture.policy->recorded() == 3);  // but for exact matches
}

TEST_CASE("coins differ from lookup to lookup, and the same coin decides and is recorded") {
  Fixture fixture(0.5);
  fixture.get("how tall is the tower", "300 m");
  std::size_t served = 0;
  std::vector<std::string> words = {"how", "tall", "is", "the", "tower"};
  for (int i = 0; i < 100; ++i) {
    std::next_permutation(words.begin(), words.end());
    std::string prompt;
    for (const std::string& word : words) prompt += word + " ";
    Lookup ticket = fixture.cache->lookup({.prompt = prompt});
    served += ticket.hit() ? 1 : 0;
    CHECK(ticket.hit() == (ticket.decision().evidence.coin >= 0.5));
  }
  const std::vector<double> coins = fixture.policy->coins();
  CHECK(std::set<double>(coins.begin(), coins.end()).size() == 100);
  CHECK(served > 25);
  CHECK(served < 75);
}

TEST_CASE("a request that is given up cancels its audit; a judge that cannot tell makes it missing") {
  Fixture fixture;
  fixture.get("how tall is the tower", "300 m");
  {
    Lookup ticket = fixture.cache->lookup({.prompt = "the tower is how tall"});
    CHECK(ticket.decision().reason == Reason::audited);
    CHECK(fixture.policy->verdicts().empty());
  }
  CHECK(fixture.policy->verdicts().at(1) == Verdict::cancelled);
  CHECK_THROWS_WITH(fixture.cache->get_or_compute({.prompt = "tower the is how tall"},
                                                  []() -> std::string { throw std::runtime_error("model down"); }),
                    "model down");
  CHECK(fixture.policy->verdicts().at(2) == Verdict::cancelled);
  fixture.compute("tower the is tall how", "throw");
  fixture.compute("tower the tall is how", "unsure");
  fixture.cache->wait_for_verdicts();
  CHECK(fixture.policy->verdicts().at(3) == Verdict::missing);
  CHECK(fixture.policy->verdicts().at(4) == Verdict::missing);
  fixture.compute("is the tower tall how", "300 m");  // compared all the same
  fixture.cache->wait_for_verdicts();
  CHECK(fixture.policy->verdicts().at(5) == Verdict::right);
}

TEST_CASE("no request waits for the judge, and one that hangs does not keep the cache from closing") {
  Fixture fixture;
  fixture.get("how tall is the tower", "300 m");
  fixture.judge->door.shut();
  fixture.get("the tower is how tall", "300 m");
  fixture.get("tower the is how tall", "300 m");
  for (int i = 0; i < 1000 && fixture.judge->entered == 0; ++i) std::this_thread::sleep_for(1ms);
  CHECK(fixture.policy->verdicts().empty());
  fixture.cache.reset();
  CHECK(fixture.policy->verdicts() == std::map<std::uint64_t, Verdict>{{2, Verdict::missing}});  // 1 is being asked
  fixture.judge->door.open();
  for (int i = 0; i < 1000 && fixture.policy->verdicts().size() < 2; ++i) std::this_thread::sleep_for(1ms);
  CHECK(fixture.policy->verdicts().at(1) == Verdict::right);
}

TEST_CASE("what cannot be recorded is not served") {
  Fixture fixture(0);
  fixture.get("how tall is the tower", "300 m");
  CHECK(fixture.get("the tower is how tall", "-").outcome == Outcome::semantic_hit);
  fixture.policy->failing = true;
  const Reply reply = fixture.get("tower the is how tall", "fresh");
  CHECK(reply.outcome == Outcome::miss);
  CHECK(reply.decision.reason == Reason::policy_failed);
  CHECK(reply.response == "fresh");
}

TEST_CASE("a policy that audits is refused without a judge") {
  test::require_error(ErrorCode::usage, {"CacheOptions.judge", "audits"}, [] {
    Cache cache({.embedder = std::make_shared<test::WordEmbedder>(), .policy = std::make_shared<AuditingPolicy>(0.1)});
  });
}

TEST_CASE("the verified policy learns from the cache's own audits, and serves with its bound") {
  const auto policy = std::make_shared<VerifiedPolicy>(std::make_shared<PlattEvidence>(Calibration{0.02, 40}),
                                                       VerifiedPolicyOptions{.epsilon = 0.2, .confidence = 0.9});
  Cache cache({.embedder = std::make_shared<test::WordEmbedder>(),
               .policy = policy,
               .judge = std::make_shared<EqualityJudge>()});
  // Questions of the same words in another order, with the same answer: every candidate is right.
  std::vector<std::string> words = {"a", "b", "c", "d", "e", "f", "g"};
  std::size_t hits = 0;
  for (int i = 0; i < 1500; ++i) {
    std::next_permutation(words.begin(), words.end());
    std::string prompt;
    for (const std::string& word : words) prompt += word + " ";
    const Reply reply = cache.get_or_compute({.prompt = prompt}, [] { return std::string("yes"); });
    hits += reply.outcome == Outcome::semantic_hit ? 1 : 0;
    cache.wait_for_verdicts();
  }
  const VerifiedStatus status = policy->status();
  CHECK(hits > 200);
  CHECK(status.hits == hits);
  CHECK(status.wrong_bound <= 0.2 * static_cast<double>(hits) + 40);
}
