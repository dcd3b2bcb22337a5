#include "promptcache/eval/hit_bound.hpp"

#include <cmath>
#include <random>

#include "support.hpp"

using namespace promptcache;

TEST_CASE("Clopper and Pearson's upper bound") {
  CHECK(binomial_upper_bound(0, 100, 0.95) == Approx(1 - std::pow(0.05, 0.01)).epsilon(1e-9));
  CHECK(binomial_upper_bound(0, 149, 0.95) <= 0.02);
  CHECK(binomial_upper_bound(0, 148, 0.95) > 0.02);
  CHECK(fewest_trials(0.02, 0.95) == 149);
  CHECK(fewest_trials(0.01, 0.95) == 299);
  // R: binom.test(5, 100, alternative = "less")$conf.int, and (30, 1000) at 0.99
  CHECK(binomial_upper_bound(5, 100, 0.95) == Approx(0.1022534).epsilon(1e-5));
  CHECK(binomial_upper_bound(30, 1000, 0.99) == Approx(0.0451).epsilon(2e-2));
  CHECK(binomial_upper_bound(7, 7, 0.95) == 1);
  CHECK(binomial_upper_bound(0, 0, 0.95) == 1);
  test::require_error(ErrorCode::usage, {"3 events", "2 trials"}, [] { binomial_upper_bound(3, 2, 0.95); });
  test::require_error(ErrorCode::usage, {"confidence"}, [] { binomial_upper_bound(1, 2, 1.0); });
}

TEST_CASE("one pair of each cluster is taken, another by another seed") {
  const std::vector<std::size_t> clusters = {0, 1, 0, 0, 2};
  const auto chosen = one_of_each_cluster(clusters, 1);
  CHECK(chosen.size() == 3);
  CHECK(chosen == one_of_each_cluster(clusters, 1));
  bool differs = false;
  for (std::uint64_t seed = 2; seed < 10; ++seed) differs |= one_of_each_cluster(clusters, seed) != chosen;
  CHECK(differs);
}

TEST_CASE("the upper bound is the root of the binomial's tail") {
  for (const std::size_t trials : {1, 10, 150, 4000}) {
    for (const std::size_t events : {std::size_t{0}, trials / 50, trials / 3, trials - 1}) {
      const double bound = binomial_upper_bound(events, trials, 0.9);
      long double tail = 0;
      for (std::size_t k = 0; k <= events; ++k) {
        const auto n = static_cast<long double>(trials), i = static_cast<long double>(k);
        tail += std::exp(std::lgamma(n + 1) - std::lgamma(i + 1) - std::lgamma(n - i + 1) +
                         i * std::log(static_cast<long double>(bound)) +
                         (n - i) * std::log1p(-static_cast<long double>(bound)));
      }
      CHECK(static_cast<double>(tail) == Approx(0.1).epsilon(1e-6));
    }
  }
}

TEST_CASE("thresholds are tested from the strictest on, equal scores together") {
  std::vector<double> scores;
  std::vector<std::uint8_t> right;
  for (int i = 0; i < 400; ++i) {
    scores.push_back(1 - i / 1000.0);
    right.push_back(i < 300 ? 1 : 0);
  }
  const ThresholdChoice choice = choose_threshold(scores, right);
  REQUIRE(choice.chosen);
  CHECK(choice.tested.front().hits == 149);
  CHECK(choice.tested.front().threshold == Approx(1 - 148.5 / 1000));
  CHECK(choice.chosen->hits >= 270);
  CHECK(choice.chosen->hits <= 310);
  CHECK(choice.tested.back().upper_bound > 0.02);
  CHECK(choice.pairs == 400);
  CHECK(choice.positives == 300);
  REQUIRE_FALSE(choice.untested.empty());
  CHECK(choice.untested.front().hits > choice.tested.back().hits);
  CHECK(choice.untested.back().upper_bound ==
        binomial_upper_bound(choice.untested.back().wrong, choice.untested.back().hits, 0.95));

  // One wrong pair at the top ends the sequence; a strictest threshold with more hits forgives it.
  std::vector<std::uint8_t> one_wrong = right;
  one_wrong[3] = 0;
  CHECK_FALSE(choose_threshold(scores, one_wrong).chosen);
  const ThresholdChoice forgiven = choose_threshold(scores, one_wrong, {.first_hits = 236});
  REQUIRE(forgiven.chosen);
  CHECK(forgiven.tested.front().hits == 236);
  CHECK(forgiven.tested.front().wrong == 1);

  std::vector<double> equal(400, 0.5);
  const ThresholdChoice together = choose_threshold(equal, right);
  REQUIRE(together.tested.size() == 1);
  CHECK(together.tested[0].hits == 400);
  CHECK_FALSE(together.chosen);
  CHECK(choose_threshold(std::span(scores).first(148), std::span(right).first(148)).tested.empty());
}

TEST_CASE("the chosen threshold's rate of wrong hits is above the target no oftener than promised") {
  // P(wrong | score) falls with the score, so that every threshold has a true rate that can be computed.
  std::mt19937_64 engine(1);
  std::uniform_real_distribution<double> uniform;
  const auto wrong_at = [](double score) { return 0.3 * std::pow(1 - score, 3); };
  const auto true_rate = [](double threshold) { return 0.3 * std::pow(1 - threshold, 3) / 4; };
  int chosen = 0, broken = 0;
  constexpr int repetitions = 1000;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    std::vector<double> scores(1500);
    std::vector<std::uint8_t> right;
    for (double& score : scores) {
      score = uniform(engine);
      right.push_back(uniform(engine) >= wrong_at(score) ? 1 : 0);
    }
    const ThresholdChoice choice = choose_threshold(scores, right);
    if (!choice.chosen) continue;
    ++chosen;
    if (true_rate(choice.chosen->threshold) > 0.02) ++broken;
  }
  CHECK(chosen > 900);
  CHECK(broken <= 65);  // 5 % of 1,000, and two standard deviations
  CHECK(broken >= 1);   // a bound that is never broken is too wide
}

namespace {

/// Clusters of pairs that are right or wrong together; the true rate of wrong hits is `rate` at every threshold.
struct Clusters {
  std::vector<double> scores;
  std::vector<std::uint8_t> right;
  std::vector<std::size_t> clusters;
};

Clusters clusters_of(std::mt19937_64& engine, std::size_t count, double rate) {
  std::uniform_real_distribution<double> uniform;
  Clusters result;
  for (std::size_t cluster = 0; cluster < count; ++cluster) {
    const std::uint8_t right = uniform(engine) >= rate ? 1 : 0;
    const std::size_t size = 1 + engine() % 9;
    for (std::size_t i = 0; i < size; ++i) {
      result.scores.push_back(uniform(engine));
      result.right.push_back(right);
      result.clusters.push_back(cluster);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("the bound of one threshold covers the true rate, by cluster but not by pair") {
  std::mt19937_64 engine(4);
  constexpr int repetitions = 1000;
  constexpr double rate = 0.03;
  int by_cluster = 0, by_pair = 0;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const Clusters drawn = clusters_of(engine, 600, rate);
    const HitBound judged = judge_threshold_by_cluster(0.4, drawn.scores, drawn.right, drawn.clusters, 0.95);
    by_cluster += judged.upper_bound >= rate ? 1 : 0;
    std::size_t hits = 0, wrong = 0;
    for (std::size_t i = 0; i < drawn.scores.size(); ++i) {
      if (drawn.scores[i] <= 0.4) continue;
      ++hits;
      wrong += drawn.right[i] == 0 ? 1 : 0;
    }
    by_pair += binomial_upper_bound(wrong, hits, 0.95) >= rate ? 1 : 0;
  }
  INFO("covered by cluster " << by_cluster << ", by pair " << by_pair << " of " << repetitions);
  CHECK(by_cluster >= 950 - 14);  // two standard deviations of 1,000 repetitions
  CHECK(by_cluster < 995);
  CHECK(by_pair < 900);
}

TEST_CASE("choosing among thresholds by looking at labels breaks the promise, testing in a fixed sequence keeps it") {
  // The true rate is just above the target at every threshold, so whatever is chosen is wrong.
  std::mt19937_64 engine(6);
  constexpr int repetitions = 1000;
  constexpr double rate = 0.0205;
  int fixed = 0, naive = 0;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const Clusters drawn = clusters_of(engine, 1500, rate);
    const ThresholdChoice choice = choose_threshold_by_cluster(drawn.scores, drawn.right, drawn.clusters);
    fixed += choice.chosen ? 1 : 0;
    // Naive: the same bounds at the same thresholds, but any one that passes will do.
    bool passed = choice.chosen.has_value();
    for (const HitBound& bound : choice.untested) passed = passed || bound.upper_bound <= 0.02;
    naive += passed ? 1 : 0;
  }
  INFO("chosen wrongly: fixed sequence " << fixed << ", naive " << naive << " of " << repetitions);
  CHECK(fixed <= 50 + 14);
  CHECK(fixed >= 1);
  CHECK(naive > 150);
}

TEST_CASE("thresholds by cluster refuse unequal lengths") {
  test::require_error(ErrorCode::usage, {"2 scores", "1 labels"}, [] {
    choose_threshold_by_cluster(std::vector<double>{1, 2}, std::vector<std::uint8_t>{1},
                                std::vector<std::size_t>{0, 1});
  });
  CHECK(judge_threshold_by_cluster(0.5, {}, {}, {}, 0.95).upper_bound == 1);
}
