#include "promptcache/eval/calibrate.hpp"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "promptcache/base/file.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

struct Pairs {
  std::vector<double> similarities, labels;
  std::vector<std::size_t> clusters;
};

/// Labels drawn from a known lambda and c; clusters of one to three pairs.
Pairs drawn_pairs(const Calibration& truth, std::size_t count, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> uniform;
  Pairs pairs;
  std::size_t cluster = 0;
  while (pairs.labels.size() < count) {
    for (std::size_t i = 0; i <= engine() % 3; ++i) {
      pairs.similarities.push_back(0.5 + 0.5 * uniform(engine));
      pairs.labels.push_back(uniform(engine) < truth.probability(pairs.similarities.back()) ? 1 : 0);
      pairs.clusters.push_back(cluster);
    }
    ++cluster;
  }
  return pairs;
}

CalibrationRecord some_record() {
  CalibrationRecord record;
  record.head = {0.0625, 12.5};
  record.threshold = HitBound{0.875, 400, 2, 0.0156};
  record.deployed = true;
  record.file_sha256 = "ab12";
  record.precision = "f32";
  record.embedder = "cd34";
  record.pairs = 1000;
  record.clusters = 800;
  record.fit_pairs = 500;
  record.threshold_pairs = 400;
  return record;
}

}  // namespace

TEST_CASE("halves share no cluster, are even, and are the same for the same seed") {
  const Pairs pairs = drawn_pairs({0.05, 14}, 3000, 1);
  const auto halves = halves_by_cluster(pairs.clusters, 1);
  CHECK(halves[0].size() + halves[1].size() == pairs.labels.size());
  CHECK(std::max(halves[0].size(), halves[1].size()) - std::min(halves[0].size(), halves[1].size()) <= 1);
  std::set<std::size_t> first;
  for (const std::size_t pair : halves[0]) first.insert(pairs.clusters[pair]);
  for (const std::size_t pair : halves[1]) CHECK(first.count(pairs.clusters[pair]) == 0);
  CHECK(halves == halves_by_cluster(pairs.clusters, 1));
  CHECK(halves != halves_by_cluster(pairs.clusters, 2));
  CHECK(halves_by_cluster(std::vector<std::size_t>(5, 7), 1)[1].empty());
}

TEST_CASE("calibration finds lambda and c on one half and tests thresholds on the other") {
  const Calibration truth{0.03, 24};
  const Pairs pairs = drawn_pairs(truth, 20000, 2);
  const CalibrationResult result = calibrate(pairs.similarities, pairs.labels, pairs.clusters);
  REQUIRE(result.head);
  CHECK(result.head->lambda == Approx(0.03).epsilon(0.1));
  CHECK(result.head->offset == Approx(24).epsilon(0.1));
  CHECK(result.pairs == pairs.labels.size());
  CHECK(result.clusters == pairs.clusters.back() + 1);
  CHECK(result.thresholds.pairs < result.clusters * 6 / 10);
  REQUIRE(result.thresholds.chosen);
  CHECK(result.thresholds.chosen->upper_bound <= 0.02);

  // Labels of the fitted half turned around: no head any more, but the same thresholds.
  Pairs turned = pairs;
  const auto halves = halves_by_cluster(pairs.clusters, 1);
  for (const std::size_t pair : halves[0]) turned.labels[pair] = 1 - turned.labels[pair];
  const CalibrationResult falling = calibrate(turned.similarities, turned.labels, turned.clusters);
  CHECK_FALSE(falling.head);
  CHECK(falling.no_head.find("do not rise") != std::string::npos);
  REQUIRE(falling.thresholds.chosen);
  CHECK(falling.thresholds.chosen->threshold == result.thresholds.chosen->threshold);
}

TEST_CASE("calibration pairs that cannot serve are told apart") {
  const std::vector<double> similarities = {0.1, 0.9, 0.5, 0.4};
  const std::vector<std::size_t> own = {0, 1, 2, 3}, one(4, 0);
  CHECK(calibrate(similarities, std::vector<double>(4, 1.0), own).no_head.find("one class") != std::string::npos);
  CHECK(calibrate(std::vector<double>(4, 0.5), std::vector<double>{0, 1, 0, 1}, one).no_head.find("one similarity") !=
        std::string::npos);
  const Pairs pairs = drawn_pairs({0.05, 14}, 300, 3);
  const CalibrationResult together =
      calibrate(pairs.similarities, pairs.labels, std::vector<std::size_t>(pairs.labels.size(), 0));
  CHECK(together.head);
  CHECK(together.thresholds.pairs == 0);
  CHECK(together.thresholds.tested.empty());
  Pairs noise = pairs;
  std::mt19937_64 engine(8);
  for (double& similarity : noise.similarities) similarity = 0.9 + 1e-8 * static_cast<double>(engine() % 100);
  const CalibrationResult flat = calibrate(noise.similarities, noise.labels, noise.clusters);
  CHECK_FALSE(flat.head);
  CHECK(flat.no_head.find("do not rise") != std::string::npos);
  test::require_error(ErrorCode::usage, {"0 similarities"}, [] { calibrate({}, {}, {}); });
  test::require_error(ErrorCode::numeric, {":2", "label 2"}, [&] {
    calibrate(similarities, std::vector<double>{0, 2, 1, 0}, own);
  });
  test::require_error(ErrorCode::usage, {"target"}, [&] {
    calibrate(similarities, std::vector<double>{0, 1, 1, 0}, own, {.target = 0});
  });
}

TEST_CASE("a calibration is written into promptcache.json and all else stays") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("promptcache.json");
  write_calibration(directory.path(), some_record());
  auto json = nlohmann::ordered_json::parse(read_file(path));
  CHECK(json["lambda"] == 0.0625);
  CHECK(json["c"] == 12.5);
  CHECK(json["threshold"] == 0.875);
  CHECK(json["calibration"]["sha256"] == "ab12");
  CHECK(json["calibration"]["embedder"] == "cd34");
  CHECK(json["calibration"]["pairs"] == 1000);
  CHECK(json["calibration"]["clusters"] == 800);
  CHECK(json["calibration"]["target_wrong_hits"] == 0.02);
  CHECK(json["calibration"]["confidence"] == 0.95);
  CHECK(json["calibration"]["upper_bound"] == 0.0156);
  CHECK(json["calibration"]["hits"] == 400);
  CHECK(json["calibration"]["wrong"] == 2);

  directory.write("promptcache.json",
                  R"({"zeta": [1, {"a": null}], "lambda": 1, "c": 2, "eps": 0.1, "seed": 18446744073709551615,
                      "name": "\u00fc", "threshold": 0.5, "alpha": 1e-300})");
  CalibrationRecord record = some_record();
  record.threshold.reset();
  write_calibration(directory.path(), record);
  json = nlohmann::ordered_json::parse(read_file(path));
  CHECK_FALSE(json.contains("threshold"));
  CHECK(json["calibration"]["upper_bound"].is_null());
  CHECK(json["seed"] == 18446744073709551615ULL);
  CHECK(json["alpha"] == 1e-300);
  CHECK(json["eps"] == 0.1);
  CHECK(json["name"] == "\u00fc");
  CHECK(json["zeta"].dump() == R"([1,{"a":null}])");
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  CHECK(keys == std::vector<std::string>{"zeta", "lambda", "c", "eps", "seed", "name", "alpha", "calibration"});

  for (const std::string broken : {"", "[1]", "{\"lambda\": 1"}) {
    directory.write("promptcache.json", broken);
    test::require_error(ErrorCode::format, {"promptcache.json"},
                        [&] { write_calibration(directory.path(), some_record()); });
    CHECK(read_file(path) == broken);
  }
  test::require_error(ErrorCode::not_found, {"promptcache.json"}, [] { write_calibration("/nowhere", some_record()); });
}
