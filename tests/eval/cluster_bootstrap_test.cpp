#include "promptcache/eval/cluster_bootstrap.hpp"

#include <cmath>
#include <numeric>
#include <random>

#include "eval/resampling.hpp"
#include "promptcache/eval/classification.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

/// Pairs of clusters that share a label and a part of the score: knowing one pair of a cluster says much of the others.
struct World {
  std::vector<double> scores, other_scores, probabilities, labels;
  std::vector<std::uint8_t> positive;
  std::vector<std::size_t> clusters;
};

constexpr double shift = 1.2;
constexpr double own_deviation = 0.3;
// Scores of a class are normal with variance 1 + own_deviation^2, so the AUC is Phi(shift / sqrt(2 * 1.09)).
const double true_auc = 0.5 * std::erfc(-shift / std::sqrt(2 * (1 + own_deviation * own_deviation)) / std::sqrt(2.0));

World dependent_world(std::uint64_t seed, std::size_t clusters, std::size_t size) {
  RandomStream random(seed, 0);
  World world;
  for (std::size_t cluster = 0; cluster < clusters; ++cluster) {
    const bool positive = random.uniform() < 0.5;
    const double shared = random.normal(), other_shared = random.normal();
    for (std::size_t i = 0; i < size; ++i) {
      world.scores.push_back((positive ? shift : 0) + shared + own_deviation * random.normal());
      world.other_scores.push_back((positive ? shift : 0) + other_shared + own_deviation * random.normal());
      world.positive.push_back(positive ? 1 : 0);
      world.labels.push_back(positive ? 1 : 0);
      world.clusters.push_back(cluster);
      // The truth: log odds of N(shift, v) against N(0, v).
      const double variance = 1 + own_deviation * own_deviation;
      world.probabilities.push_back(1 / (1 + std::exp(-(world.scores.back() - shift / 2) * shift / variance)));
    }
  }
  return world;
}

/// The plain way: the pairs of the drawn clusters are copied, and the usual measures taken.
struct Copies {
  std::vector<double> scores, probabilities, labels;
  std::vector<std::uint8_t> positive;
};

Copies copies_of(const World& world, std::uint64_t seed, std::size_t number) {
  std::size_t count = 0;
  const std::vector<std::uint32_t> dense = dense_numbers(world.clusters, count);
  std::vector<std::uint32_t> times(count);
  draw_clusters(seed, number, times);
  Copies copies;
  for (std::size_t i = 0; i < world.scores.size(); ++i) {
    for (std::uint32_t repeat = 0; repeat < times[dense[i]]; ++repeat) {
      copies.scores.push_back(world.scores[i]);
      copies.probabilities.push_back(world.probabilities[i]);
      copies.labels.push_back(world.labels[i]);
      copies.positive.push_back(world.positive[i]);
    }
  }
  return copies;
}

bool covers(const IntervalEstimate& estimate, double truth) { return estimate.low <= truth && truth <= estimate.high; }

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int repetitions = 40;
#else
constexpr int repetitions = 250;
#endif

}  // namespace

TEST_CASE("resampling by weights is resampling by copies, in clusters of one pair and of more") {
  const std::size_t size = GENERATE(1, 5);
  World world = dependent_world(7, 300 / size, size);
  for (double& score : world.scores) score = std::round(score * 10) / 10;  // ties
  BootstrapOptions options;
  options.resamples = 60;
  std::vector<double> aucs, precisions, briers;
  for (std::size_t number = 0; number < options.resamples; ++number) {
    const Copies copies = copies_of(world, options.seed, number);
    aucs.push_back(roc_auc(copies.scores, copies.positive));
    precisions.push_back(average_precision(precision_recall_curve(copies.scores, copies.positive)));
    briers.push_back(brier_score(copies.probabilities, copies.labels));
  }
  for (auto* values : {&aucs, &precisions, &briers}) std::sort(values->begin(), values->end());
  const RankingIntervals found = bootstrap_ranking(world.scores, world.positive, world.clusters, options);
  REQUIRE(found.auc);
  CHECK(found.auc->value == Approx(roc_auc(world.scores, world.positive)));
  CHECK(found.auc->low == Approx(quantile(aucs, 0.025)));
  CHECK(found.auc->high == Approx(quantile(aucs, 0.975)));
  REQUIRE(found.average_precision);
  CHECK(found.average_precision->value ==
        Approx(average_precision(precision_recall_curve(world.scores, world.positive))));
  CHECK(found.average_precision->low == Approx(quantile(precisions, 0.025)));
  CHECK(found.average_precision->high == Approx(quantile(precisions, 0.975)));
  const auto calibration = bootstrap_calibration(world.probabilities, world.labels, world.clusters, 15, options);
  REQUIRE(calibration);
  CHECK(calibration->ece.value ==
        Approx(expected_calibration_error(calibration_bins(world.probabilities, world.labels))));
  CHECK(calibration->brier.value == Approx(brier_score(world.probabilities, world.labels)));
  CHECK(calibration->brier.low == Approx(quantile(briers, 0.025)));
  CHECK(calibration->brier.high == Approx(quantile(briers, 0.975)));
}

TEST_CASE("the result does not depend on threads, nor on how clusters are numbered") {
  World world = dependent_world(3, 80, 4);
  BootstrapOptions options;
  options.resamples = 200;
  options.band_points = 20;
  const RankingIntervals one = bootstrap_ranking(world.scores, world.positive, world.clusters, options);
  const auto ece_one = bootstrap_calibration(world.probabilities, world.labels, world.clusters, 15, options);
  const CalibratedEce perfect_one = simulate_calibrated_ece(world.probabilities, 15, options);
  options.threads = 4;
  for (std::size_t& cluster : world.clusters) cluster = 1000000007 * (cluster + 1);
  const RankingIntervals four = bootstrap_ranking(world.scores, world.positive, world.clusters, options);
  const auto ece_four = bootstrap_calibration(world.probabilities, world.labels, world.clusters, 15, options);
  const CalibratedEce perfect_four = simulate_calibrated_ece(world.probabilities, 15, options);
  CHECK(one.auc->low == four.auc->low);
  CHECK(one.auc->high == four.auc->high);
  CHECK(one.roc.low == four.roc.low);
  CHECK(one.precision.high == four.precision.high);
  CHECK(ece_one->ece.low == ece_four->ece.low);
  CHECK(ece_one->ece.high == ece_four->ece.high);
  CHECK(perfect_one.quantile_95 == perfect_four.quantile_95);
  options.seed = 2;
  CHECK(one.auc->low != bootstrap_ranking(world.scores, world.positive, world.clusters, options).auc->low);
}

TEST_CASE("where clusters stick together, the interval by pair is too narrow and the one by cluster is not") {
  BootstrapOptions options;
  options.resamples = 400;
  options.threads = 2;
  int by_pair = 0, by_cluster = 0, rejected_by_pair = 0, rejected_by_cluster = 0;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const World world = dependent_world(100 + static_cast<std::uint64_t>(repetition), 150, 8);
    by_pair += covers(*roc_auc_interval(world.scores, world.positive), true_auc) ? 1 : 0;
    by_cluster +=
        covers(*bootstrap_ranking(world.scores, world.positive, world.clusters, options).auc, true_auc) ? 1 : 0;
    // Two models that are equally good: 5 % of the tests should say otherwise.
    rejected_by_pair += roc_auc_difference(world.scores, world.other_scores, world.positive)->p_value < 0.05 ? 1 : 0;
    const auto difference =
        bootstrap_auc_difference(world.scores, world.other_scores, world.positive, world.clusters, options);
    rejected_by_cluster += difference->p_value < 0.05 ? 1 : 0;
    if (difference->p_value < 0.03) CHECK_FALSE(covers(difference->auc, 0));
    if (difference->p_value > 0.07) CHECK(covers(difference->auc, 0));
  }
  const auto share = [](int count) { return static_cast<double>(count) / repetitions; };
  INFO("coverage by pair " << share(by_pair) << ", by cluster " << share(by_cluster));
  INFO("equal models told apart by pair " << share(rejected_by_pair) << ", by cluster " << share(rejected_by_cluster));
  const double slack = 2.5 * std::sqrt(0.05 * 0.95 / repetitions);
  CHECK(share(by_pair) < 0.7);
  CHECK(share(by_cluster) > 0.94 - slack);  // percentiles of 75 clusters a class fall a little short of 95 %
  CHECK(share(by_cluster) < 0.95 + slack);
  CHECK(share(rejected_by_pair) > 0.3);
  CHECK(share(rejected_by_cluster) < 0.06 + slack);
}

TEST_CASE("the interval of the ECE allows for what noise alone adds") {
  BootstrapOptions options;
  options.resamples = 300;
  options.threads = 2;
  const std::size_t size = GENERATE(1, 6);  // pairs a cluster, which share their label
  const double factor = GENERATE(1.0, 0.94, 0.5);
  const bool calibrated = factor == 1;
  int covered = 0, naive_covered = 0, called_calibrated = 0;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    RandomStream random(900 + static_cast<std::uint64_t>(repetition), size);
    std::vector<double> probabilities, labels;
    std::vector<std::size_t> clusters;
    const std::size_t count = 2400 / size;
    for (std::size_t cluster = 0; cluster < count; ++cluster) {
      // Said p, uniform, and true factor * p: the true ECE is (1 - factor) / 2.
      const double p = random.uniform();
      const double label = random.uniform() < factor * p ? 1 : 0;
      for (std::size_t i = 0; i < size; ++i) {
        probabilities.push_back(p);
        labels.push_back(label);
        clusters.push_back(cluster);
      }
    }
    const auto found = bootstrap_calibration(probabilities, labels, clusters, 15, options);
    covered += covers(found->ece, (1 - factor) / 2) ? 1 : 0;
    called_calibrated += found->p_calibrated >= 0.05 ? 1 : 0;
    naive_covered += found->ece.value <= 0.005 ? 1 : 0;
    CHECK(found->ece.low <= found->ece.value);
    CHECK(found->ece.high >= found->ece.value);
  }
  const auto share = [](int number) { return static_cast<double>(number) / repetitions; };
  INFO("size " << size << ", factor " << factor << ": covered " << share(covered) << ", called calibrated "
               << share(called_calibrated));
  const double slack = 2.5 * std::sqrt(0.05 * 0.95 / repetitions);
  CHECK(share(covered) > 0.94 - slack);
  if (calibrated) {
    CHECK(naive_covered == 0);  // the ECE itself is never near the truth
    CHECK(share(called_calibrated) > 0.93 - slack);
  } else if (factor < 0.9) {
    CHECK(share(called_calibrated) < 0.01);
  }
}

TEST_CASE("the ECE of a perfect model is what drawing labels from its probabilities gives") {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> uniform;
  std::vector<double> probabilities(500);
  for (double& p : probabilities) p = uniform(random);
  double sum = 0;
  constexpr int draws = 400;
  for (int draw = 0; draw < draws; ++draw) {
    std::vector<double> labels;
    for (const double p : probabilities) labels.push_back(uniform(random) < p ? 1 : 0);
    sum += expected_calibration_error(calibration_bins(probabilities, labels)) / draws;
  }
  const CalibratedEce found = simulate_calibrated_ece(probabilities);
  CHECK(found.mean == Approx(sum).epsilon(0.03));
  CHECK(found.quantile_95 > found.mean);
  CHECK(simulate_calibrated_ece(std::vector<double>(100, 1.0)).mean == 0);
  test::require_error(ErrorCode::usage, {"no probabilities"}, [] { simulate_calibrated_ece({}); });
}

TEST_CASE("the band holds the curve") {
  const World world = dependent_world(11, 200, 2);
  BootstrapOptions options;
  options.resamples = 300;
  options.band_points = 20;
  const RankingIntervals found = bootstrap_ranking(world.scores, world.positive, world.clusters, options);
  REQUIRE(found.roc.at.size() == 20);
  REQUIRE(found.roc.low.size() == 20);
  REQUIRE(found.precision.high.size() == 20);
  CHECK(found.roc.at.back() == 1);
  CHECK(found.roc.high.back() == Approx(1));
  const std::vector<CurvePoint> curve = precision_recall_curve(world.scores, world.positive);
  const auto positives = static_cast<double>(std::count(world.positive.begin(), world.positive.end(), 1));
  const double negatives = static_cast<double>(world.positive.size()) - positives;
  for (std::size_t i = 0; i < 20; ++i) {
    CHECK(found.roc.low[i] <= found.roc.high[i]);
    double share = 0, precision = 0;
    for (const CurvePoint& point : curve) {
      if (static_cast<double>(point.hits - point.true_hits) / negatives <= found.roc.at[i]) share = point.recall;
      if (point.recall >= found.precision.at[i] - 1e-9 && precision == 0) precision = point.precision;
    }
    CHECK(share >= found.roc.low[i] - 0.02);
    CHECK(share <= found.roc.high[i] + 0.02);
    CHECK(precision >= found.precision.low[i]);
    CHECK(precision <= found.precision.high[i]);
  }
}

TEST_CASE("what cannot be resampled has no interval") {
  const std::vector<double> scores = {0.9, 0.8, 0.2, 0.1};
  const std::vector<std::uint8_t> positive = {1, 1, 0, 0};
  const std::vector<std::size_t> one_cluster(4, 3), four = {0, 1, 2, 3};
  CHECK_FALSE(bootstrap_ranking(scores, positive, one_cluster).auc);
  CHECK_FALSE(bootstrap_auc_difference(scores, scores, positive, one_cluster));
  CHECK_FALSE(bootstrap_calibration(scores, scores, one_cluster));
  CHECK_FALSE(bootstrap_ranking(scores, std::vector<std::uint8_t>(4, 1), four).auc);
  // Four pairs: a class is left out in 2 of 16 resamples, too often for an interval.
  CHECK_FALSE(bootstrap_ranking(scores, positive, four).auc);

  std::vector<double> many;
  std::vector<std::uint8_t> labels;
  std::vector<std::size_t> clusters;
  for (std::size_t i = 0; i < 40; ++i) {
    many.push_back(i < 20 ? 0.9 : 0.1);
    labels.push_back(i < 20 ? 1 : 0);
    clusters.push_back(i / 2);
  }
  const RankingIntervals perfect = bootstrap_ranking(many, labels, clusters);
  REQUIRE(perfect.auc);
  CHECK(perfect.auc->high == 1);
  CHECK(perfect.auc->low == Approx(std::pow(0.025, 0.1)));  // ten clusters of each class
  const auto same = bootstrap_auc_difference(many, many, labels, clusters);
  REQUIRE(same);
  CHECK(same->auc.value == 0);
  CHECK(same->p_value == 1);

  CHECK(cluster_sizes(std::vector<std::size_t>{4, 4, 9, 4}).clusters == 2);
  CHECK(cluster_sizes(std::vector<std::size_t>{4, 4, 9, 4}).largest == 3);
  CHECK(cluster_sizes({}).clusters == 0);
  test::require_error(ErrorCode::usage, {"4 values", "3 clusters"}, [&] {
    bootstrap_ranking(scores, positive, std::vector<std::size_t>{1, 2, 3});
  });
  test::require_error(ErrorCode::numeric, {"nan"}, [&] {
    bootstrap_calibration(std::vector<double>{0.1, NAN}, std::vector<double>{0, 1}, std::vector<std::size_t>{0, 1});
  });
}
