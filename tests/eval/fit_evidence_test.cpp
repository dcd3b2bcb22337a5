#include "promptcache/eval/fit_evidence.hpp"

#include <cmath>
#include <random>

#include "support.hpp"

using namespace promptcache;

namespace {

constexpr std::size_t at(EvidenceFeature feature) { return static_cast<std::size_t>(feature); }

constexpr std::size_t number_replaced = plain_feature_count + 2 * static_cast<std::size_t>(GuardKind::number) + 1;

double sigma(double z) { return 1 / (1 + std::exp(-z)); }

struct Drawn {
  std::vector<Evidence> evidence;
  std::vector<double> labels, truth;
};

/// Labels drawn from known log-odds of similarity, length, a guard and, if asked for, a pair's logit.
Drawn drawn(std::size_t count, bool scored, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> uniform;
  std::normal_distribution<double> normal;
  Drawn result;
  for (std::size_t i = 0; i < count; ++i) {
    Evidence evidence;
    evidence.similarity = 0.6 + 0.4 * uniform(engine);
    evidence.prompt_bytes = 20 + engine() % 60;
    evidence.candidate_bytes = 20 + engine() % 60;
    GuardFlags flags;
    if (uniform(engine) < 0.2) flags.add(GuardKind::number, GuardStrength::replaced);
    evidence.guards = flags.bits();
    if (scored) evidence.pair_logit = 2 * normal(engine);
    if (uniform(engine) < 0.5) evidence.next_similarity = evidence.similarity - 0.1 * uniform(engine);
    const auto features = evidence_features(evidence);
    double z = -12 + 15 * evidence.similarity - 1.5 * *features[at(EvidenceFeature::length)];
    if (flags.any()) z -= 2;
    if (scored) z += 0.7 * *evidence.pair_logit;
    result.evidence.push_back(evidence);
    result.truth.push_back(sigma(z));
    result.labels.push_back(uniform(engine) < result.truth.back() ? 1 : 0);
  }
  return result;
}

/// The derivative of the penalised cross entropy with respect to a feature's weight, at the fitted model.
double slope(const Drawn& drawn, const LogisticEvidence& model, const EvidenceWeights& weights, std::size_t feature,
             double penalty) {
  double sum = 0, mean = 0, squares = 0, known = 0;
  for (std::size_t i = 0; i < drawn.labels.size(); ++i) {
    const auto value = evidence_features(drawn.evidence[i])[feature];
    if (!value) continue;
    sum += (model.probability(drawn.evidence[i]) - drawn.labels[i]) * (*value - weights.center[feature]);
    mean += *value;
    squares += *value * *value;
    ++known;
  }
  const double variance = squares / known - mean / known * mean / known;
  return sum + penalty * weights.weight[feature] * variance;
}

}  // namespace

TEST_CASE("the fit finds the weights that the labels were drawn from") {
  const Drawn pairs = drawn(40000, true, 1);
  const LogisticEvidence model = fit_evidence(pairs.evidence, pairs.labels);
  REQUIRE(model.reads_pairs());
  const EvidenceWeights& second = *model.second();
  CHECK(second.weight[at(EvidenceFeature::pair_logit)] == Approx(0.7).epsilon(0.06));
  CHECK(second.weight[at(EvidenceFeature::length)] == Approx(-1.5).epsilon(0.12));
  CHECK(second.weight[number_replaced] == Approx(-2).epsilon(0.08));
  CHECK(second.weight[at(EvidenceFeature::gap)] == Approx(0).margin(1.5));
  CHECK(second.weight[number_replaced + 2] == 0);  // a guard that never spoke
  CHECK(second.weight[at(EvidenceFeature::agreement)] == 0);
  double error = 0;
  for (std::size_t i = 0; i < pairs.labels.size(); ++i) {
    error += std::abs(model.probability(pairs.evidence[i]) - pairs.truth[i]);
  }
  CHECK(error / static_cast<double>(pairs.labels.size()) < 0.01);
  CHECK(model.first().weight[at(EvidenceFeature::pair_logit)] == 0);
  CHECK(model.first().weight[number_replaced] < -1);

  std::size_t unasked = 0, right = 0;
  for (std::size_t i = 0; i < pairs.labels.size(); ++i) {
    if (pairs.labels[i] < 0.5) continue;
    ++right;
    unasked += pairs.evidence[i].similarity < model.least_similarity() ? 1 : 0;
  }
  CHECK(unasked == static_cast<std::size_t>(0.005 * static_cast<double>(right)));
}

TEST_CASE("at the fit no weight can be changed for the better") {
  for (const double penalty : {0.01, 1.0, 100.0}) {
    const Drawn pairs = drawn(2000, false, 2);
    const LogisticEvidence model = fit_evidence(pairs.evidence, pairs.labels, {.penalty = penalty});
    CHECK_FALSE(model.reads_pairs());
    for (const std::size_t feature : {at(EvidenceFeature::similarity), at(EvidenceFeature::closeness),
                                      at(EvidenceFeature::gap), at(EvidenceFeature::length), number_replaced}) {
      INFO(penalty << " " << evidence_feature_name(feature));
      CHECK(slope(pairs, model, model.first(), feature, penalty) == Approx(0).margin(1e-3));
    }
  }
}

TEST_CASE("separable evidence, and a handful of pairs, have a finite fit") {
  std::vector<Evidence> evidence(4);
  for (std::size_t i = 0; i < 4; ++i) evidence[i].similarity = 0.2 * static_cast<double>(i);
  const std::vector<double> labels = {0, 0, 1, 1};
  const LogisticEvidence model = fit_evidence(evidence, labels);
  CHECK(model.probability(evidence[0]) < 0.5);
  CHECK(model.probability(evidence[3]) > 0.5);
  CHECK(std::isfinite(model.first().weight[0]));
}

TEST_CASE("evidence that cannot be fitted is refused") {
  Drawn pairs = drawn(10, true, 3);
  const auto fit = [&] { fit_evidence(pairs.evidence, pairs.labels); };
  pairs.labels.assign(10, 1);
  test::require_error(ErrorCode::usage, {"one class"}, fit);
  pairs.labels[0] = 0;
  pairs.evidence[4].pair_logit.reset();
  test::require_error(ErrorCode::usage, {"9 of 10"}, fit);
  pairs.evidence[4].pair_logit = NAN;
  test::require_error(ErrorCode::numeric, {"calibration evidence", "5"}, fit);
  pairs.evidence[4].pair_logit = 1;
  pairs.labels[2] = 2;
  test::require_error(ErrorCode::numeric, {"3", "2.0"}, fit);
  pairs.labels.pop_back();
  test::require_error(ErrorCode::usage, {"10 pieces", "9 labels"}, fit);
  pairs.labels = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  test::require_error(ErrorCode::usage, {"penalty"},
                      [&] { fit_evidence(pairs.evidence, pairs.labels, {.penalty = 0}); });
  test::require_error(ErrorCode::usage, {"unasked"},
                      [&] { fit_evidence(pairs.evidence, pairs.labels, {.unasked = 1}); });
}
