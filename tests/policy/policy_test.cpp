#include <cmath>
#include <fstream>
#include <random>

#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/threshold_policy.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

Evidence at(double similarity) { return {1, similarity, {}}; }

}  // namespace

TEST_CASE("a threshold serves strictly above it") {
  const ThresholdPolicy policy(0.9);
  CHECK_FALSE(policy.decide(at(0.9)).serve);
  CHECK(policy.decide(at(0.9)).reason == Reason::not_similar);
  CHECK(policy.decide(at(std::nextafter(0.9, 1))).serve);
  CHECK(policy.decide(at(0.95)).reason == Reason::similar);
  CHECK(policy.decide(at(0.95)).threshold == 0.9);
  CHECK_FALSE(policy.decide(at(NAN)).serve);
  CHECK_FALSE(policy.decide(at(0.95)).probability);
  CHECK_FALSE(policy.decide(at(0.95)).bound);
  test::require_error(ErrorCode::usage, {"tau", "1.5"}, [] { ThresholdPolicy(1.5); });
  test::require_error(ErrorCode::numeric, {"tau", "nan"}, [] { ThresholdPolicy(NAN); });
  CHECK(policy.describe() == "threshold: similarity > 0.9");
}

TEST_CASE("a calibrated policy serves where the probability is high enough") {
  const Calibration calibration{0.05, 16};  // P = 1/2 at 0.8
  const CalibratedPolicy strict(calibration, {.target_wrong_hits = 0.02});
  CHECK(calibration.probability(strict.threshold()) == Approx(0.98));
  CHECK(strict.decide(at(strict.threshold() + 1e-6)).serve);
  CHECK_FALSE(strict.decide(at(strict.threshold())).serve);
  CHECK(strict.decide(at(0.8)).probability.value() == Approx(0.5));
  CHECK_FALSE(strict.decide(at(0.99)).bound);

  const CalibratedPolicy costs(calibration, {.wrong_hit_cost = 9});
  CHECK(calibration.probability(costs.threshold()) == Approx(0.9));
  CHECK(costs.describe().find("costs 9 responses") != std::string::npos);

  test::require_error(ErrorCode::usage, {"neither", "target_wrong_hits or wrong_hit_cost"},
                      [&] { CalibratedPolicy(calibration, {}); });
  test::require_error(ErrorCode::usage, {"both"},
                      [&] { CalibratedPolicy(calibration, {.target_wrong_hits = 0.1, .wrong_hit_cost = 1}); });
  test::require_error(ErrorCode::usage, {"target_wrong_hits", "between 0 and 1"},
                      [&] { CalibratedPolicy(calibration, {.target_wrong_hits = 0}); });
  test::require_error(ErrorCode::usage, {"lambda", "above 0"}, [&] {
    CalibratedPolicy({0, 1}, {.target_wrong_hits = 0.1});
  });
}

TEST_CASE("fitted to pairs, the threshold is the lowest one that keeps the target on them") {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform;
  std::vector<double> similarities;
  std::vector<double> labels;
  const Calibration truth{0.05, 16};
  for (int i = 0; i < 4000; ++i) {
    similarities.push_back(0.5 + 0.5 * uniform(random));
    labels.push_back(uniform(random) < truth.probability(similarities.back()) ? 1 : 0);
  }
  const auto policy = CalibratedPolicy::fit(similarities, labels, {.target_wrong_hits = 0.05});
  CHECK(policy->calibration().lambda == Approx(0.05).epsilon(0.1));
  const auto wrong_share = [&](double threshold) {
    double hits = 0;
    double wrong = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (similarities[i] <= threshold) continue;
      hits += 1;
      wrong += 1 - labels[i];
    }
    return wrong / hits;
  };
  CHECK(wrong_share(policy->threshold()) <= 0.05);
  for (double lower = policy->threshold() - 1e-3; lower > 0.5; lower -= 1e-3) CHECK(wrong_share(lower) > 0.05);
  // The mean over the hits keeps the target, so the least of them may be worse than it.
  CHECK(policy->threshold() < CalibratedPolicy(truth, {.target_wrong_hits = 0.05}).threshold());

  SECTION("and when no threshold does, nothing is served") {
    const auto none = CalibratedPolicy::fit(std::vector<double>{0.99, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4},
                                            std::vector<double>{0, 1, 1, 1, 0, 0, 0}, {.target_wrong_hits = 0.1});
    CHECK(std::isinf(none->threshold()));
    CHECK_FALSE(none->decide(at(1)).serve);
    CHECK(none->describe().find("never served") != std::string::npos);
  }
}

TEST_CASE("lambda and c come from a model directory") {
  const test::TemporaryDirectory directory;
  std::filesystem::copy(test::data_file("tiny_bert"), directory.file("model"),
                        std::filesystem::copy_options::recursive);
  const std::string path = directory.file("model");
  std::filesystem::remove(path + "/promptcache.json");
  test::require_error(ErrorCode::not_found, {"promptcache.json", "no lambda and c", "pc-train"},
                      [&] { CalibratedPolicy::open(path, {.target_wrong_hits = 0.1}); });
  std::ofstream(path + "/promptcache.json") << R"({"lambda": 0.05, "c": 16})";
  CHECK(CalibratedPolicy::open(path, {.target_wrong_hits = 0.5})->threshold() == Approx(0.8));
}

TEST_CASE("a verified threshold in the model directory is taken for its target and looser ones, with its bound") {
  const test::TemporaryDirectory directory;
  std::filesystem::copy(test::data_file("tiny_bert"), directory.file("model"),
                        std::filesystem::copy_options::recursive);
  const std::string path = directory.file("model");
  const auto write = [&](const std::string& text) {
    std::ofstream(path + "/promptcache.json")
        << R"({"lambda": 0.05, "c": 16, "threshold": 0.875, "calibration": )" << text << "}";
  };
  write(R"({"target_wrong_hits": 0.02, "confidence": 0.95, "upper_bound": 0.0183, "hits": 400, "wrong": 3})");
  for (const double target : {0.02, 0.1}) {
    const auto policy = CalibratedPolicy::open(path, {.target_wrong_hits = target});
    CHECK(policy->threshold() == 0.875);
    CHECK(policy->decide(at(0.9)).bound == 0.0183);
    CHECK(policy->decide(at(0.9)).serve);
    CHECK_FALSE(policy->decide(at(0.875)).serve);
    CHECK(policy->decide(at(0.8)).probability.value() == Approx(0.5));
    CHECK(policy->describe().find("0.0183") != std::string::npos);
    const Decision again = make_policy(policy->parameters())->decide(at(0.9));
    CHECK(again.bound == 0.0183);
    CHECK(again.threshold == 0.875);
  }
  const auto stricter = CalibratedPolicy::open(path, {.target_wrong_hits = 0.01});
  CHECK(stricter->threshold() > 0.9);
  CHECK_FALSE(stricter->decide(at(0.99)).bound);
  CHECK_FALSE(CalibratedPolicy::open(path, {.wrong_hit_cost = 9})->decide(at(0.99)).bound);

  for (const std::string unsound : {"{}", "null", R"({"target_wrong_hits": 0.02, "confidence": 0.95})",
                                    R"({"target_wrong_hits": 0.02, "confidence": 0.95, "upper_bound": 0.03})"}) {
    write(unsound);
    test::require_error(ErrorCode::format, {"promptcache.json", "pc-calibrate"},
                        [&] { CalibratedPolicy::open(path, {.target_wrong_hits = 0.02}); });
  }
  test::require_error(ErrorCode::usage, {"bound"}, [] { CalibratedPolicy::with_threshold({1, 1}, 0.5, 0.0); });
}
