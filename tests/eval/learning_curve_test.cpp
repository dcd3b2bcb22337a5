#include "promptcache/eval/learning_curve.hpp"

#include <cmath>

#include "eval/resampling.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

constexpr double sizes[] = {250, 500, 1000, 2000, 4000, 8000};

std::vector<LearningPoint> points_of(double a, double b, double g, double noise, std::size_t seeds,
                                     std::uint64_t seed) {
  RandomStream random(seed, 0);
  std::vector<LearningPoint> points;
  for (const double size : sizes) {
    for (std::size_t i = 0; i < seeds; ++i) {
      points.push_back({size, a + b * std::pow(size, -g) + noise * random.normal()});
    }
  }
  return points;
}

}  // namespace

TEST_CASE("a power law without noise is found again") {
  const LearningCurve curve = fit_learning_curve(points_of(0.1, 3, 0.6, 0, 1, 1));
  CHECK(curve.a.value == Approx(0.1).epsilon(1e-3));
  CHECK(curve.b.value == Approx(3).epsilon(1e-2));
  CHECK(curve.g.value == Approx(0.6).epsilon(1e-3));
  CHECK(curve.at(16000) == Approx(0.1 + 3 * std::pow(16000, -0.6)).epsilon(1e-4));
  CHECK(curve.largest == 8000);
  CHECK(curve.sizes == 6);
  CHECK(curve.informative);
  const LearningCurve without_floor = fit_learning_curve(points_of(0, 2, 0.3, 0, 2, 1));
  CHECK(without_floor.a.value == Approx(0).margin(1e-3));
  CHECK(without_floor.g.value == Approx(0.3).epsilon(1e-2));
}

TEST_CASE("the forecast at twice the labels covers the truth, and says how far it may be off") {
  int covered = 0, told = 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int repetitions = 10;
#else
  constexpr int repetitions = 60;
#endif
  const double truth = 0.1 + 2 * std::pow(16000, -0.45);
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const LearningCurve curve =
        fit_learning_curve(points_of(0.1, 2, 0.45, 0.004, 3, 50 + static_cast<std::uint64_t>(repetition)));
    told += curve.informative ? 1 : 0;
    const IntervalEstimate forecast = curve.forecast(16000);
    covered += forecast.low <= truth && truth <= forecast.high ? 1 : 0;
    CHECK(forecast.high - forecast.low < 0.03);
    CHECK(curve.noise == Approx(0.004).epsilon(0.8));
  }
  INFO("covered " << covered << " of " << repetitions);
  CHECK(told == repetitions);
  CHECK(covered >= repetitions * 88 / 100);
}

TEST_CASE("a flat or rising curve, and too few points, forecast nothing and say why") {
  int told = 0;
  constexpr int repetitions = 40;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    told += fit_learning_curve(points_of(0.2, 0, 1, 0.01, 3, 900 + static_cast<std::uint64_t>(repetition))).informative
                ? 1
                : 0;
  }
  CHECK(told <= 6);  // 5 % of 40, and three standard deviations
  std::vector<LearningPoint> rising;
  for (const double size : sizes) rising.push_back({size, 0.1 + size / 1e5});
  const LearningCurve curve = fit_learning_curve(rising);
  CHECK_FALSE(curve.informative);
  CHECK(curve.reason.find("do not fall") != std::string::npos);
  CHECK(curve.b.value == 0);

  const std::vector<LearningPoint> two = {{100, 0.3}, {100, 0.31}, {200, 0.2}, {200, 0.21}};
  CHECK(fit_learning_curve(two).reason.find("Three sizes") != std::string::npos);
  const std::vector<LearningPoint> three = {{100, 0.3}, {200, 0.2}, {400, 0.15}};
  const LearningCurve unknown = fit_learning_curve(three);
  CHECK_FALSE(unknown.informative);
  CHECK(unknown.reason.find("noise is unknown") != std::string::npos);
  CHECK(std::isnan(unknown.forecast(800).low));
  test::require_error(ErrorCode::usage, {"no points"}, [] { fit_learning_curve({}); });
  test::require_error(ErrorCode::numeric, {":1:"}, [] { fit_learning_curve(std::vector<LearningPoint>{{0, 0.1}}); });
}

TEST_CASE("learning points are read from a table") {
  const test::TemporaryDirectory directory;
  const auto points =
      read_learning_points(directory.write("a.tsv", "seed\tpairs\tauc\r\n1\t100\t0.75\r\n2\t200\t0.8\n"));
  REQUIRE(points.size() == 2);
  CHECK(points[1].pairs == 200);
  CHECK(points[1].error == Approx(0.2));
  const auto refuse = [&](const std::string& text, std::initializer_list<std::string> pieces) {
    test::require_error(ErrorCode::format, pieces, [&] { read_learning_points(directory.write("b.tsv", text)); });
  };
  refuse("", {"no points"});
  refuse("pairs\tauc\n", {"no points"});
  refuse("pairs\tloss\n1\t2\n", {"b.tsv:1", "auc"});
  refuse("pairs\tauc\n1\n", {"b.tsv:2", "1 cells"});
  refuse("pairs\tauc\n100\t1.5\n", {"b.tsv:2", "'1.5'"});
  refuse("pairs\tauc\n100\tnan\n", {"b.tsv:2", "'nan'"});
  refuse("pairs\tauc\n0\t0.5\n", {"b.tsv:2", "'0'"});
  test::require_error(ErrorCode::not_found, {"nowhere"}, [] { read_learning_points("/nowhere"); });
}
