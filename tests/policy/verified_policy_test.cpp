#include "promptcache/policy/verified_policy.hpp"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "base/random.hpp"
#include "eval/policy_laws.hpp"
#include "promptcache/policy/per_entry_policy.hpp"
#include "promptcache/policy/threshold_policy.hpp"
#include "support.hpp"
#include "verified_streams.hpp"

using namespace promptcache;
using test::evidence_of;
using test::make_verified;
using test::Stream;

TEST_CASE("nothing is served before it is proven, then it is, with audits that become rarer") {
  const auto policy = make_verified({.epsilon = 0.05});
  Stream stream(*policy, 1);
  stream.run(100, [](const Evidence&) { return false; });
  CHECK(policy->status().hits == 0);
  CHECK(policy->status().explored > 90);  // all but what is below every level
  CHECK_FALSE(policy->status().open_score);
  CHECK(policy->describe().find("nothing served") != std::string::npos);
  stream.run(900, [](const Evidence&) { return false; });
  const VerifiedStatus early = policy->status();
  CHECK(early.hits > 100);
  CHECK(early.audits > early.hits / 2);
  REQUIRE(early.open_score);
  stream.run(20000, [](const Evidence&) { return false; });
  const VerifiedStatus late = policy->status();
  CHECK(late.audit_probability == 0.05);
  CHECK(late.audits - early.audits < 5000);
  CHECK(late.hits > 15000);
  CHECK(late.wrong_bound / static_cast<double>(late.hits) < 0.01);
  CHECK(policy->decide(evidence_of(1, 0.99, 0.5)).bound.value() < 0.01);
  CHECK(policy->describe().find("P >=") != std::string::npos);

  SECTION("the coin alone decides about an audit, and without one nothing is served") {
    CHECK(policy->decide(evidence_of(1, 0.99, 0.049)).reason == Reason::audited);
    CHECK_FALSE(policy->decide(evidence_of(1, 0.99, 0.049)).serve);
    CHECK(policy->decide(evidence_of(1, 0.99, 0.051)).serve);
    CHECK(policy->decide(evidence_of(1, 0.99, 0.051)).audit_probability == 0.05);
    for (const double coin : {1.0, -0.1, std::nan("")}) {
      Decision decision = policy->decide(evidence_of(1, 0.99, coin));
      CHECK_FALSE(decision.serve);
      CHECK(decision.reason == Reason::not_similar);
      policy->record(evidence_of(1, 0.99, coin), decision);
      CHECK(decision.audit == 0);
    }
    CHECK_FALSE(policy->decide(evidence_of(1, std::nan(""), 0.5)).serve);
    const Evidence bare{1, 0.99, {}};
    CHECK_FALSE(policy->decide(bare).serve);
  }
  SECTION("wrong reports close, right ones open nothing") {
    for (int i = 0; i < 3000 && policy->status().alarms == 0; ++i) {
      Evidence evidence = evidence_of(static_cast<EntryId>(5000 + i), 0.99, 0.9);
      Decision decision = policy->decide(evidence);
      policy->record(evidence, decision);
      if (decision.serve) policy->observe(evidence, i % 3 == 0);
    }
    CHECK(policy->status().alarms == 1);
    CHECK((!policy->status().open_score || *policy->status().open_score > *late.open_score));
    const std::string before = policy->state();
    for (int i = 0; i < 1000; ++i) policy->observe(evidence_of(1, 0.99, 0.9), true);
    CHECK(policy->state() == before);
  }
}

TEST_CASE("a wrong verdict on an entry lowers that entry alone") {
  const auto policy = make_verified({.epsilon = 0.05});
  Stream stream(*policy, 1);
  stream.run(4000, [](const Evidence&) { return false; });
  const double similarity = 0.9;
  REQUIRE(policy->decide(evidence_of(900, similarity, 0.9)).serve);
  const double before = policy->decide(evidence_of(900, similarity, 0.9)).probability.value();
  for (int i = 0; i < 3; ++i) {
    Evidence evidence = evidence_of(900, similarity, 0.01);
    Decision decision = policy->decide(evidence);
    policy->record(evidence, decision);
    REQUIRE(decision.audit != 0);
    policy->judged(decision.audit, Verdict::wrong);
  }
  CHECK(policy->decide(evidence_of(900, similarity, 0.9)).probability.value() < before);
  CHECK_FALSE(policy->decide(evidence_of(900, similarity, 0.9)).serve);
  CHECK(policy->decide(evidence_of(901, similarity, 0.9)).probability.value() == before);
}

TEST_CASE("service falls back when candidates become wrong, and is earned again") {
  const auto policy = make_verified({.epsilon = 0.05});
  Stream stream(*policy, 4);
  stream.run(5000, [](const Evidence&) { return false; });
  const VerifiedStatus good = policy->status();
  REQUIRE(good.open_score);
  stream.run(300, [](const Evidence&) { return true; });
  const VerifiedStatus bad = policy->status();
  CHECK(bad.hits - good.hits < 100);
  CHECK(bad.alarms + bad.renewals > 0);
  const std::uint64_t hits_when_closed = policy->status().hits;
  stream.run(200, [](const Evidence&) { return true; });
  CHECK(policy->status().hits == hits_when_closed);
  stream.run(8000, [](const Evidence&) { return false; });
  CHECK(policy->status().hits > hits_when_closed + 2000);
}

TEST_CASE("a right verdict never lowers service") {
  // Histories of all kinds; then one verdict that is out comes in as right, or does not yet.
  int verdicts = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    const auto before = make_verified({.epsilon = 0.1});
    Stream stream(*before, seed);
    const double rate = 0.01 * static_cast<double>(seed % 5);
    stream.run(300 + 150 * static_cast<int>(seed), [&](const Evidence&) { return stream.draw() < rate; });
    for (int round = 0; round < 30; ++round) {
      Evidence evidence = evidence_of(1 + static_cast<EntryId>(40 * stream.draw()), 0.6 + 0.4 * stream.draw(), 0);
      Decision decision = before->decide(evidence);
      before->record(evidence, decision);
      if (decision.audit == 0) continue;  // below every level
      ++verdicts;
      const auto after = make_verified({.epsilon = 0.1});
      after->restore(before->state());
      after->judged(decision.audit, Verdict::right);
      int lowered = 0;
      for (EntryId entry = 1; entry <= 40; entry += 3) {
        for (double similarity = 0.6; similarity <= 1; similarity += 0.013) {
          for (const double coin : {0.04, 0.2, 0.4, 0.99}) {
            const Evidence probe = evidence_of(entry, similarity, coin);
            if (before->decide(probe).serve && !after->decide(probe).serve) ++lowered;
          }
        }
      }
      INFO("seed " << seed << " round " << round);
      CHECK(lowered == 0);
      before->judged(decision.audit, stream.draw() < rate ? Verdict::wrong : Verdict::right);
    }
  }
  CHECK(verdicts > 200);
}

TEST_CASE("verdicts that are out, missing or cancelled") {
  const auto policy = make_verified({.epsilon = 0.05, .max_pending = 50});
  Stream stream(*policy, 2);
  stream.run(2000, [](const Evidence&) { return false; });
  const auto audit = [&] {
    Evidence evidence = evidence_of(77, 0.99, 0.001);
    Decision decision = policy->decide(evidence);
    policy->record(evidence, decision);
    REQUIRE(decision.reason == Reason::audited);
    return decision.audit;
  };
  const double start = policy->status().wrong_bound;
  const std::uint64_t first = audit();
  const double waiting = policy->status().wrong_bound;
  CHECK(waiting > start);
  CHECK(policy->status().pending == 1);
  policy->judged(first, Verdict::cancelled);
  CHECK(policy->status().wrong_bound == start);
  CHECK(policy->status().audits_wrong == 0);
  policy->judged(first, Verdict::wrong);  // told before
  policy->judged(987654321, Verdict::wrong);
  policy->judged(0, Verdict::wrong);
  CHECK(policy->status().wrong_bound == start);
  policy->judged(audit(), Verdict::missing);
  CHECK(policy->status().wrong_bound == waiting);
  CHECK(policy->status().audits_wrong == 1);

  SECTION("the oldest of too many counts as missing") {
    const std::uint64_t oldest = policy->status().pending == 0 ? audit() : 0;
    Evidence evidence = evidence_of(78, 0.62, 0.001);
    for (int i = 0; i < 50; ++i) {
      Decision decision = policy->decide(evidence);
      policy->record(evidence, decision);
    }
    CHECK(policy->status().audits_wrong == 2);
    const double bound = policy->status().wrong_bound;
    policy->judged(oldest, Verdict::right);
    CHECK(policy->status().wrong_bound == bound);
  }
  SECTION("all that are out count as missing when nobody will bring them") {
    audit();
    audit();
    policy->forget_pending();
    CHECK(policy->status().pending == 0);
    CHECK(policy->status().audits_wrong == 3);
  }
}

TEST_CASE("whatever the world, the bound is kept at all times and hits end with the account") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::size_t requests = 1500;
#else
  constexpr std::size_t requests = 5000;
#endif
  int broken = 0, runs = 0;
  for (const std::string& name : laws::names()) {
    if (name == "noise") continue;  // a judge that errs promises nothing about the truth
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const auto law = laws::make(name, seed);
      const auto policy = make_verified({.epsilon = 0.05});
      const laws::Run run = laws::play(*law, *policy, requests, 0.05, seed, seed % 2 == 0 ? 20 : 0);
      const VerifiedStatus status = policy->status();
      ++runs;
      const bool kept = static_cast<double>(run.wrong) <= status.wrong_bound && run.sum <= status.wrong_bound &&
                        run.excess <= status.slack && run.excess_wrong <= status.slack;
      broken += kept ? 0 : 1;
      CHECK(status.slack == 20 * static_cast<double>(1 + status.renewals));
      if (name == "hopeless") CHECK(run.hits == 0);
    }
  }
  CHECK(broken <= runs / 10);
}

TEST_CASE("without renewal the account ends service for good, whatever is proven later") {
  const auto policy = make_verified({.epsilon = 0.05, .renew = false, .false_alarm_after = 1e12});
  Stream stream(*policy, 9);
  stream.run(2000, [](const Evidence&) { return false; });
  REQUIRE(policy->status().hits > 0);
  stream.run(3000, [](const Evidence&) { return true; });
  const std::uint64_t hits = policy->status().hits;
  stream.run(6000, [](const Evidence&) { return false; });
  CHECK(policy->status().hits == hits);
  CHECK(policy->status().slack == 20);
  CHECK(policy->status().renewals == 0);
}

TEST_CASE("a bound over requests holds against every adversary from the first request on") {
  for (const char* name : {"logistic", "adversary", "mixed", "drift"}) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const auto law = laws::make(name, seed);
      const auto policy = make_verified({.epsilon = 0.05, .over = BoundOver::requests});
      const laws::Run run = laws::play(*law, *policy, 3000, 0.05, seed);
      INFO(name);
      CHECK(run.requests_kept);
      CHECK(run.hits > 100);
      CHECK(policy->status().slack == 0);
    }
  }
}

TEST_CASE("a certified score is served soon, and not what entries have raised above it") {
  VerifiedPolicyOptions options{.epsilon = 0.05};
  options.certified = CertifiedScore{0.5, 200, 0};  // similarity 0.8
  const auto policy = make_verified(options);
  Stream stream(*policy, 3);
  stream.run(150, [](const Evidence&) { return false; });
  CHECK(policy->status().hits > 5);
  CHECK(policy->decide(evidence_of(500, 0.81, 0.99)).serve);
  CHECK_FALSE(policy->decide(evidence_of(500, 0.79, 0.99)).serve);
}

TEST_CASE("options out of range are refused") {
  const auto refuse = [](const std::string& name, const VerifiedPolicyOptions& options) {
    test::require_error(ErrorCode::usage, {name}, [&] { make_verified(options); });
  };
  for (const double bad : {0.0, 1.0, -0.1, 2.0, std::nan("")}) {
    refuse("epsilon", {.epsilon = bad});
    refuse("confidence", {.confidence = bad});
    refuse("audit_floor", {.audit_floor = bad});
  }
  refuse("audit_start", {.audit_start = 0.01});
  refuse("audit_start", {.audit_start = 1.0});
  refuse("exploration", {.exploration = 0});
  refuse("exploration", {.exploration = 1.5});
  refuse("slack", {.slack = -1.0});
  refuse("false_alarm_after", {.false_alarm_after = 0});
  refuse("max_pending", {.max_pending = 0});
  VerifiedPolicyOptions certified;
  certified.certified = CertifiedScore{1.5, 0, 0};
  refuse("certified", certified);
  test::require_error(ErrorCode::usage, {"no model"}, [] { VerifiedPolicy(nullptr, {}); });
  CHECK(VerifiedPolicy::least_slack({}) > 0);
  refuse("slack", {.slack = 0.9 * VerifiedPolicy::least_slack({})});
  CHECK(make_verified({.slack = VerifiedPolicy::least_slack({})})->status().slack > 1);
}

TEST_CASE("lambda, c and a verified threshold come from a model directory, for the embedder they were made with") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("model");
  std::filesystem::copy(test::data_file("tiny_bert"), path, std::filesystem::copy_options::recursive);
  const test::NoEmbedder embedder;
  const auto write = [&](const std::string& text) { std::ofstream(path + "/promptcache.json") << text; };
  write("{}");
  test::require_error(ErrorCode::not_found, {"promptcache.json", "pc-calibrate"},
                      [&] { VerifiedPolicy::open(path, embedder, {}); });
  write(R"({"lambda": 0.05, "c": 16, "calibration": {"embedder": "abc"}})");
  test::require_error(ErrorCode::mismatch, {"promptcache.json", "abc", embedder.identity().hex()},
                      [&] { VerifiedPolicy::open(path, embedder, {}); });
  write(R"({"lambda": 0.05, "c": 16})");  // as pc-train leaves it
  CHECK(VerifiedPolicy::open(path, embedder, {})->decide(evidence_of(1, 0.8, 0.5)).probability.value() == Approx(0.5));
  write(R"({"lambda": 0.05, "c": 16, "threshold": 0.8, "calibration": {"embedder": ")" + embedder.identity().hex() +
        R"(", "target_wrong_hits": 0.02, "confidence": 0.95, "upper_bound": 0.0183}})");
  CHECK(VerifiedPolicy::open(path, embedder, {.epsilon = 0.02})->status().open_score.value() == Approx(0.5));
  CHECK_FALSE(VerifiedPolicy::open(path, embedder, {.epsilon = 0.01})->status().open_score);
  CHECK_FALSE(VerifiedPolicy::open(path, embedder, {.epsilon = 0.02, .confidence = 0.99})->status().open_score);
}

TEST_CASE("threads decide, record and judge at once") {
  const auto policy = make_verified({.epsilon = 0.1});
  std::vector<std::thread> threads;
  std::atomic<std::uint64_t> served{0};
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random = base::generator(1, t);
      for (int i = 0; i < 2000; ++i) {
        Evidence evidence =
            evidence_of(1 + random() % 50, 0.8 + 0.2 * base::uniform_share(random), base::uniform_share(random));
        Decision decision = policy->decide(evidence);
        policy->record(evidence, decision);
        served += decision.serve ? 1 : 0;
        if (decision.audit != 0) policy->judged(decision.audit, Verdict::right);
        if (decision.serve && i % 50 == 0) policy->observe(evidence, true);
        if (i % 500 == 0) policy->state();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const VerifiedStatus status = policy->status();
  CHECK(status.requests == 8000);
  CHECK(status.hits == served);
  CHECK(status.pending == 0);
  CHECK(status.hits > 1000);
}
