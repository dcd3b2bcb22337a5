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

TEST_CASE("pairs are clustered by the questions they share") {
  const std::vector<std::string> q1 = {"a", "c", "e", "b", "g"};
  const std::vector<std::string> q2 = {"b", "d", "f", "e", "h"};
  CHECK(question_clusters(q1, q2) == std::vector<std::size_t>{0, 1, 0, 0, 2});
  const std::vector<std::size_t> clusters = {0, 1, 0, 0, 2};
  const auto chosen = one_of_each_cluster(clusters, 1);
  CHECK(chosen.size() == 3);
  CHECK(chosen == one_of_each_cluster(clusters, 1));
  bool differs = false;
  for (std::uint64_t seed = 2; seed < 10; ++seed) differs |= one_of_each_cluster(clusters, seed) != chosen;
  CHECK(differs);
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
