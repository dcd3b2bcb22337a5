#include "promptcache/policy/logistic_evidence.hpp"

#include <cmath>
#include <set>

#include "support.hpp"

using namespace promptcache;

namespace {

constexpr std::size_t at(EvidenceFeature feature) { return static_cast<std::size_t>(feature); }

constexpr std::size_t guard(GuardKind kind, GuardStrength strength) {
  return plain_feature_count + 2 * static_cast<std::size_t>(kind) + static_cast<std::size_t>(strength);
}

EvidenceWeights some_weights() {
  EvidenceWeights weights;
  weights.intercept = -1.25;
  weights.weight[at(EvidenceFeature::similarity)] = 20;
  weights.center[at(EvidenceFeature::similarity)] = 0.9;
  weights.weight[at(EvidenceFeature::gap)] = 3;
  weights.center[at(EvidenceFeature::gap)] = 0.05;
  weights.weight[guard(GuardKind::number, GuardStrength::replaced)] = -4;
  return weights;
}

EvidenceWeights second_weights() {
  EvidenceWeights weights = some_weights();
  weights.weight[at(EvidenceFeature::pair_logit)] = 0.8;
  return weights;
}

double odds(double p) { return std::log(p / (1 - p)); }

}  // namespace

TEST_CASE("log-odds are the weighted sum, and what is not known counts as its center") {
  const LogisticEvidence model(some_weights());
  Evidence evidence;
  evidence.similarity = 0.95;
  CHECK(odds(model.probability(evidence)) == Approx(-1.25 + 20 * 0.05));
  evidence.next_similarity = 0.80;
  CHECK(odds(model.probability(evidence)) == Approx(-1.25 + 20 * 0.05 + 3 * 0.10));
  evidence.next_similarity = 0.10;  // the gap ends at 0.2
  CHECK(odds(model.probability(evidence)) == Approx(-1.25 + 20 * 0.05 + 3 * 0.15));
  evidence.next_similarity.reset();
  GuardFlags flags;
  flags.add(GuardKind::number, GuardStrength::replaced);
  flags.add(GuardKind::date, GuardStrength::missing);  // has no weight
  evidence.guards = flags.bits();
  CHECK(odds(model.probability(evidence)) == Approx(-1.25 + 20 * 0.05 - 4));
  evidence.similarity = NAN;
  CHECK(std::isnan(model.probability(evidence)));
}

TEST_CASE("a pair's logit brings in the second stage, and is wanted above the least similarity only") {
  const LogisticEvidence model(some_weights(), second_weights(), 0.7);
  Evidence evidence;
  evidence.similarity = 0.9;
  CHECK(model.reads_pairs());
  CHECK(model.wants_pair_logit(evidence));
  CHECK(odds(model.probability(evidence)) == Approx(-1.25));
  evidence.pair_logit = 2.5;
  CHECK_FALSE(model.wants_pair_logit(evidence));
  CHECK(odds(model.probability(evidence)) == Approx(-1.25 + 0.8 * 2.5));
  evidence.pair_logit = 1e9;  // cut
  CHECK(odds(model.probability(evidence)) == Approx(-1.25 + 0.8 * 12));
  evidence.pair_logit.reset();
  evidence.similarity = 0.69;
  CHECK_FALSE(model.wants_pair_logit(evidence));
  CHECK_FALSE(LogisticEvidence(some_weights()).wants_pair_logit(evidence));
}

TEST_CASE("features are bounded, and each has a name of its own") {
  Evidence evidence;
  evidence.similarity = 1;
  evidence.next_similarity = 1.1;  // above the best: no gap
  evidence.agreement = 0.5;
  evidence.prompt_bytes = 10;
  evidence.candidate_bytes = 100000;
  const auto features = evidence_features(evidence);
  CHECK(*features[at(EvidenceFeature::closeness)] == Approx(-std::log(1e-3)));
  CHECK(*features[at(EvidenceFeature::gap)] == 0);
  CHECK(*features[at(EvidenceFeature::agreement)] == 0.5);
  CHECK(*features[at(EvidenceFeature::length)] == 2);
  CHECK(*features[at(EvidenceFeature::shortness)] == Approx(-std::log2(10)));
  CHECK_FALSE(features[at(EvidenceFeature::pair_logit)]);
  CHECK_FALSE(features[plain_feature_count]);
  std::set<std::string> names;
  for (std::size_t i = 0; i < evidence_feature_count; ++i) names.insert(evidence_feature_name(i));
  CHECK(names.size() == evidence_feature_count);
  CHECK(evidence_feature_name(guard(GuardKind::number, GuardStrength::replaced)) == "number.replaced");
  CHECK(evidence_feature_name(at(EvidenceFeature::pair_logit)) == "pair_logit");
}

TEST_CASE("parameters are read back to the same probabilities, and nothing else is") {
  const LogisticEvidence model(some_weights(), second_weights(), 0.7);
  const auto again = make_evidence_model(model.parameters(), "here");
  CHECK(again->parameters() == model.parameters());
  CHECK(again->wants_guards());
  Evidence evidence;
  for (const double similarity : {0.1, 0.8731, 0.99}) {
    evidence.similarity = similarity;
    evidence.pair_logit.reset();
    CHECK(again->probability(evidence) == model.probability(evidence));
    evidence.pair_logit = -1.7;
    CHECK(again->probability(evidence) == model.probability(evidence));
  }
  CHECK(LogisticEvidence::parse(LogisticEvidence(some_weights()).parameters(), "here").second() == std::nullopt);

  const auto refuse = [](const std::string& text, std::initializer_list<std::string> pieces) {
    test::require_error(ErrorCode::format, pieces, [&] { make_evidence_model(text, "here"); });
  };
  refuse("", {"here"});
  refuse("[]", {"here"});
  refuse(R"({"kind": 5})", {"here"});
  refuse(R"({"kind": "logistic"})", {"here", "first"});
  refuse(R"({"kind": "logistic", "least_similarity": 0, "first": {"intercept": "a"}, "second": null})", {"here"});
  refuse(R"({"kind": "logistic", "least_similarity": 7, "first": {"intercept": 1}, "second": null})", {"here", "7"});
  refuse(R"({"kind": "logistic", "least_similarity": 0, "first": {"intercept": 1, "luck": [1, 0]}, "second": null})",
         {"here", "feature"});
  test::require_error(ErrorCode::unsupported, {"here", "forest"},
                      [] { make_evidence_model(R"({"kind": "forest"})", "here"); });
}

TEST_CASE("weights that are no numbers, and a first stage with a pair's logit, are refused") {
  EvidenceWeights weights = some_weights();
  weights.weight[at(EvidenceFeature::length)] = INFINITY;
  test::require_error(ErrorCode::usage, {"first stage", "finite"}, [&] { LogisticEvidence model(weights); });
  test::require_error(ErrorCode::usage, {"second stage"}, [&] { LogisticEvidence model(some_weights(), weights); });
  test::require_error(ErrorCode::usage, {"pair's logit"}, [] { LogisticEvidence model(second_weights()); });
}
