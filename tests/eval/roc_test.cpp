#include "promptcache/eval/roc.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "support.hpp"

namespace {

using namespace promptcache;

/// The definition, pair by pair.
double auc_by_definition(const std::vector<double>& scores, const std::vector<std::uint8_t>& positive) {
  double wins = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (positive[i] == 0 || positive[j] != 0) continue;
      pairs += 1;
      wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  }
  return wins / pairs;
}

}  // namespace

TEST_CASE("AUC equals its definition, ties included") {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> scores;
    std::vector<std::uint8_t> positive = {0, 1};
    for (int i = 0; i < 60; ++i) {
      scores.push_back(static_cast<double>(random() % 12) / 4);  // many ties
      if (i >= 2) positive.push_back(static_cast<std::uint8_t>(random() % 2));
    }
    CHECK(roc_auc(scores, positive) == Approx(auc_by_definition(scores, positive)));
  }
}

TEST_CASE("AUC of one class is undefined, of a NaN an error") {
  const std::vector<double> scores = {1, 2};
  CHECK(std::isnan(roc_auc(scores, std::vector<std::uint8_t>{1, 1})));
  CHECK_FALSE(roc_auc_interval(scores, std::vector<std::uint8_t>{0, 1}).has_value());
  const std::vector<double> broken = {1, std::numeric_limits<double>::quiet_NaN()};
  test::require_error(ErrorCode::numeric, {"pair 2"}, [&] { roc_auc(broken, std::vector<std::uint8_t>{0, 1}); });
  test::require_error(ErrorCode::usage, {"2 values", "1"}, [&] { roc_auc(scores, std::vector<std::uint8_t>{0}); });
}

TEST_CASE("the interval covers the true AUC in about 95 % of samples, the test rejects in about 5 %") {
  // Two normal populations one apart: AUC = Phi(1 / sqrt 2).
  const double truth = 0.5 * std::erfc(-0.5);
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  int covered = 0, rejected = 0;
  constexpr int rounds = 1000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> first, second;
    std::vector<std::uint8_t> positive;
    for (int i = 0; i < 120; ++i) {
      positive.push_back(i % 2 == 0 ? 1 : 0);
      const double shared = normal(random) * 0.7 + (i % 2 == 0 ? 1 : 0);
      first.push_back(shared + 0.7141428 * normal(random));
      second.push_back(shared + 0.7141428 * normal(random));
    }
    const auto interval = roc_auc_interval(first, positive);
    REQUIRE(interval.has_value());
    if (interval->low <= truth && truth <= interval->high) ++covered;
    if (roc_auc_difference(first, second, positive)->p_value < 0.05) ++rejected;
  }
  CHECK(covered > 0.93 * rounds);
  CHECK(covered < 0.975 * rounds);
  CHECK(rejected > 0.03 * rounds);
  CHECK(rejected < 0.075 * rounds);
}

TEST_CASE("perfect and equal scores have sensible intervals") {
  std::vector<double> scores;
  std::vector<std::uint8_t> positive;
  for (int i = 0; i < 20; ++i) {
    scores.push_back(i);
    positive.push_back(i >= 10 ? 1 : 0);
  }
  const auto perfect = roc_auc_interval(scores, positive);
  CHECK(perfect->value == 1);
  CHECK(perfect->high == 1);
  CHECK(perfect->low == Approx(std::pow(0.025, 0.1)));
  const auto same = roc_auc_difference(scores, scores, positive);
  CHECK(same->auc.value == 0);
  CHECK(same->p_value == 1);
}
