#include "promptcache/policy/per_entry_policy.hpp"

#include "eval/policy_laws.hpp"
#include "support.hpp"
#include "verified_streams.hpp"

using namespace promptcache;
using test::evidence_of;

namespace {

void teach(PerEntryPolicy& policy, EntryId entry, double similarity, Verdict verdict) {
  const Evidence evidence = evidence_of(entry, similarity, 0);  // a coin of 0 explores unless it is certain
  Decision decision = policy.decide(evidence);
  policy.record(evidence, decision);
  if (decision.audit != 0) policy.judged(decision.audit, verdict);
}

}  // namespace

TEST_CASE("each entry is explored until it has six verdicts of its own") {
  PerEntryPolicy policy(0.05);
  CHECK(policy.audits());
  for (int i = 0; i < 6; ++i) {
    CHECK(policy.decide(evidence_of(1, 0.95, 0.99)).reason == Reason::audited);
    teach(policy, 1, 0.8 + 0.02 * i, Verdict::right);
  }
  CHECK(policy.decide(evidence_of(1, 0.97, 0.99)).serve);
  CHECK(policy.decide(evidence_of(1, 0.97, 0.99)).audit_probability.value() < 0.9);
  CHECK_FALSE(policy.decide(evidence_of(1, 0.5, 0.94)).serve);
  CHECK_FALSE(policy.decide(evidence_of(2, 0.97, 0.99)).serve);
  CHECK_FALSE(policy.decide(evidence_of(1, 0.97, 1)).serve);  // no coin

  SECTION("wrong verdicts raise the similarity that is needed") {
    const double before = policy.decide(evidence_of(1, 0.9, 0.5)).audit_probability.value();
    for (int i = 0; i < 6; ++i) teach(policy, 1, 0.85 + 0.01 * i, Verdict::wrong);
    CHECK(policy.decide(evidence_of(1, 0.9, 0.5)).audit_probability.value() > before);
  }
  SECTION("verdicts that say nothing are not counted") {
    PerEntryPolicy other(0.05);
    for (int i = 0; i < 20; ++i) teach(other, 1, 0.9, Verdict::missing);
    CHECK_FALSE(other.decide(evidence_of(1, 0.97, 0.99)).serve);
    other.judged(1, Verdict::right);
    other.judged(999, Verdict::right);
  }
  test::require_error(ErrorCode::usage, {"delta"}, [] { PerEntryPolicy(0); });
  test::require_error(ErrorCode::usage, {"delta"}, [] { PerEntryPolicy(1); });
}

TEST_CASE("an entry without one similarity that separates is fitted, and one without any order is explored") {
  PerEntryPolicy policy(0.1);
  for (int i = 0; i < 60; ++i) {
    teach(policy, 1, 0.70 + 0.004 * i, i % 7 == 3 ? Verdict::wrong : i > 25 ? Verdict::right : Verdict::wrong);
    teach(policy, 2, 0.9, i % 2 == 0 ? Verdict::right : Verdict::wrong);
    teach(policy, 3, 0.9 - 0.002 * i, i > 30 ? Verdict::right : Verdict::wrong);
  }
  CHECK(policy.decide(evidence_of(1, 0.95, 0.5)).audit_probability.value() <
        policy.decide(evidence_of(1, 0.75, 0.5)).audit_probability.value());
  CHECK(policy.decide(evidence_of(2, 0.95, 0.5)).audit_probability.value() == 1);
  CHECK(policy.decide(evidence_of(3, 0.95, 0.5)).audit_probability.value() == 1);
}

TEST_CASE("made-up streams are the same for the same seed, and their laws are what they say") {
  for (const std::string& name : laws::names()) {
    const auto law = laws::make(name, 1);
    PerEntryPolicy policy(0.05), again(0.05);
    const laws::Run run = laws::play(*law, policy, 1500, 0.05, 3);
    const laws::Run same = laws::play(*laws::make(name, 1), again, 1500, 0.05, 3);
    CHECK(run.hits == same.hits);
    CHECK(run.sum == same.sum);
    CHECK(run.hits >= run.hits_at[0]);
    CHECK(run.verdicts == run.audits);
  }
  test::require_error(ErrorCode::usage, {"'none'"}, [] { laws::make("none", 1); });
}
