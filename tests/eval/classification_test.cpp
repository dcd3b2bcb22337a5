#include "promptcache/eval/classification.hpp"

#include <cmath>
#include <vector>

#include "promptcache/eval/platt.hpp"
#include "support.hpp"

using namespace promptcache;

TEST_CASE("average precision and the curve agree with a case worked by hand") {
  // Descending: 0.9+ 0.8- 0.7+ 0.7- 0.2+; the two at 0.7 come together.
  const std::vector<double> scores = {0.9, 0.8, 0.7, 0.7, 0.2};
  const std::vector<std::uint8_t> positive = {1, 0, 1, 0, 1};
  const std::vector<CurvePoint> curve = precision_recall_curve(scores, positive);
  REQUIRE(curve.size() == 4);
  CHECK(curve[0].threshold == Approx(0.85));
  CHECK(curve[2].hits == 4);
  CHECK(curve[2].precision == Approx(0.5));
  CHECK(curve[2].recall == Approx(2.0 / 3));
  CHECK(curve[3].threshold < 0.2);
  CHECK(average_precision(curve) == Approx(1.0 / 3 + 0.5 / 3 + 0.6 / 3));
  CHECK(recall_at_precision(curve, 0.95) == Approx(1.0 / 3));
  CHECK(recall_at_precision(curve, 0.5) == Approx(1));
  CHECK(std::isnan(average_precision(precision_recall_curve(scores, std::vector<std::uint8_t>(5, 0)))));
}

TEST_CASE("a cache that serves strictly above a curve's threshold gets that point's hits") {
  const std::vector<double> scores = {0.1, 0.5, 0.5, 0.7, 0.9, 0.9};
  const std::vector<std::uint8_t> positive = {0, 1, 0, 0, 1, 1};
  for (const CurvePoint& point : precision_recall_curve(scores, positive)) {
    std::size_t hits = 0;
    for (double score : scores) hits += score > point.threshold ? 1 : 0;
    CHECK(hits == point.hits);
  }
}

TEST_CASE("calibration error of equal-mass bins, worked by hand") {
  const std::vector<double> probabilities = {0.1, 0.2, 0.8, 0.9};
  const std::vector<double> labels = {0, 1, 1, 1};
  const std::vector<CalibrationBin> bins = calibration_bins(probabilities, labels, 2);
  REQUIRE(bins.size() == 2);
  CHECK(bins[0].mean_probability == Approx(0.15));
  CHECK(bins[0].mean_label == Approx(0.5));
  CHECK(expected_calibration_error(bins) == Approx(0.5 * 0.35 + 0.5 * 0.15));
  CHECK(brier_score(probabilities, labels) == Approx((0.01 + 0.64 + 0.04 + 0.01) / 4));
  CHECK(calibration_bins(probabilities, labels).size() == 4);
}

TEST_CASE("Platt's fit finds the head that made the labels") {
  std::vector<double> similarities, labels;
  const Calibration truth{0.05, 14};
  for (int i = 0; i < 4000; ++i) {
    similarities.push_back(0.4 + 0.6 * i / 4000);
    labels.push_back(truth.probability(similarities.back()));  // soft labels: the exact probabilities
  }
  const Calibration fit = fit_platt(similarities, labels);
  CHECK(fit.lambda == Approx(truth.lambda).epsilon(0.01));
  CHECK(fit.offset == Approx(truth.offset).epsilon(0.01));
  CHECK(fit.probability(fit.similarity_at(0.3)) == Approx(0.3));
}

TEST_CASE("Platt's fit is finite on separable labels and refuses what has no fit") {
  const std::vector<double> similarities = {0.1, 0.2, 0.8, 0.9};
  const Calibration fit = fit_platt(similarities, std::vector<double>{0, 0, 1, 1});
  CHECK(fit.lambda > 0);
  CHECK(fit.probability(0.9) > 0.6);
  test::require_error(ErrorCode::usage, {"one class"}, [&] { fit_platt(similarities, std::vector<double>(4, 1.0)); });
  test::require_error(ErrorCode::usage, {"do not rise"}, [&] {
    fit_platt(similarities, std::vector<double>{1, 1, 0, 0});
  });
  test::require_error(ErrorCode::numeric, {":2:"}, [&] {
    fit_platt(std::vector<double>{0.1, NAN, 0.3}, std::vector<double>{0, 1, 1});
  });
}
