#include "promptcache/eval/calibrate_cascade.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "promptcache/base/file.hpp"
#include "promptcache/eval/calibrate.hpp"
#include "promptcache/policy/cascade_policy.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

PairFile some_pairs(const test::TemporaryDirectory& directory, const std::string& rows,
                    const std::string& columns = "q1\tq2\tlabel\tnext_similarity\tagreement") {
  return read_pair_file(directory.write("pairs.tsv", columns + "\n" + rows));
}

}  // namespace

TEST_CASE("evidence of pairs: similarity, lengths, guards, logits, and other candidates from optional columns") {
  const test::TemporaryDirectory directory;
  const PairFile file = some_pairs(directory, "boil 5 eggs\tboil 7 eggs\t0\t0.5\t1\nab\tabc\t1\t\t\n");
  const auto guards = Guards::english();
  const std::vector<double> similarities = {0.9, 0.8}, logits = {-2, 3};
  const auto evidence = evidence_of_pairs(file, similarities, logits, guards.get());
  REQUIRE(evidence.size() == 2);
  CHECK(evidence[0].similarity == 0.9);
  CHECK(evidence[0].next_similarity == 0.5);
  CHECK(evidence[0].agreement == 1.0);
  CHECK(evidence[0].pair_logit == -2.0);
  CHECK(GuardFlags::from_bits(evidence[0].guards.value()).has(GuardKind::number, GuardStrength::replaced));
  CHECK(evidence[1].prompt_bytes == 2);
  CHECK(evidence[1].candidate_bytes == 3);
  CHECK_FALSE(evidence[1].next_similarity);
  CHECK_FALSE(evidence[1].agreement);
  CHECK_FALSE(evidence_of_pairs(file, similarities, {}, nullptr)[0].guards);
  CHECK_FALSE(evidence_of_pairs(file, similarities, {}, nullptr)[0].pair_logit);

  test::require_error(ErrorCode::usage, {"2 pairs", "1 similarities"},
                      [&] { evidence_of_pairs(file, std::vector<double>{0.5}, {}, nullptr); });
  for (const char* cell : {"x", "1.5", "nan", "0.5 "}) {
    const PairFile bad = some_pairs(directory, "a\tb\t0\t0.5\t1\nab\tabc\t1\t" + std::string(cell) + "\t\n");
    test::require_error(ErrorCode::format, {"pairs.tsv", "3", "next_similarity", cell},
                        [&] { evidence_of_pairs(bad, similarities, {}, nullptr); });
  }
  const PairFile bad = some_pairs(directory, "a\tb\t0\t0.5\t-0.5\nab\tabc\t1\t0\t\n");
  test::require_error(ErrorCode::format, {"agreement", "0 to 1"},
                      [&] { evidence_of_pairs(bad, similarities, {}, nullptr); });
}

TEST_CASE("a cascade keeps more hits than its first stage at the same bound, and vetoes count") {
  std::mt19937_64 engine(4);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  std::vector<Evidence> evidence;
  std::vector<double> labels;
  std::vector<std::size_t> clusters;
  GuardFlags number;
  number.add(GuardKind::number, GuardStrength::replaced);
  for (std::size_t i = 0; i < 8000; ++i) {
    const bool right = uniform(engine) < 0.5;
    Evidence each;
    each.similarity = std::clamp(0.8 + (right ? 0.08 : 0) + 0.05 * normal(engine), -1.0, 1.0);
    each.pair_logit = (right ? 4 : -4) + 2 * normal(engine);
    each.guards = !right && uniform(engine) < 0.3 ? number.bits() : 0;
    evidence.push_back(each);
    labels.push_back(right ? 1 : 0);
    clusters.push_back(i);
  }
  const auto guards = Guards::english(GuardOptions::all(GuardAction::flag).set(GuardKind::number, GuardAction::veto));
  const CascadeCalibration result = calibrate_cascade(evidence, labels, clusters, guards.get(), {.target = 0.02});
  CHECK(result.pairs == 8000);
  CHECK(result.fit_pairs == 4000);
  REQUIRE(result.second.chosen);
  CHECK(result.second.pairs == 4000);
  CHECK(result.second.chosen->upper_bound <= 0.02);
  CHECK(result.second.chosen->hits > 1500);
  CHECK((!result.first.chosen || result.first.chosen->hits < 1000));

  // Served is just what was tested.
  const CascadePolicy policy(std::make_shared<LogisticEvidence>(result.model), {},
                             {.threshold = result.second.chosen->threshold});
  std::size_t served = 0;
  const auto halves = halves_by_cluster(clusters, 1);
  for (const std::size_t pair : halves[1]) {
    served += *evidence[pair].guards == 0 && policy.decide(evidence[pair]).serve ? 1 : 0;
  }
  CHECK(served == result.second.chosen->hits);

  const std::vector<double> scores = cascade_scores(result.model, evidence, guards.get());
  for (std::size_t i = 0; i < evidence.size(); ++i) CHECK((*evidence[i].guards != 0) == (scores[i] == -40));
  test::require_error(ErrorCode::usage, {"8000 pieces", "1 clusters"},
                      [&] { calibrate_cascade(evidence, labels, std::vector<std::size_t>{1}, nullptr); });
}

TEST_CASE("what is written keeps other fields, and no threshold of pairs that are not as deployed") {
  const test::TemporaryDirectory directory;
  directory.write("promptcache.json", R"({"lambda": 0.05, "c": 16, "threshold": 0.9})");
  CascadeRecord record;
  record.calibration.second.chosen = HitBound{0.5, 300, 1, 0.016};
  record.embedder = "ab";
  write_cascade(directory.path(), record);
  const auto json = nlohmann::json::parse(read_file(directory.file("promptcache.json")));
  CHECK(json["threshold"] == 0.9);
  CHECK(json["cascade"]["second"].is_null());
  CHECK(json["cascade"]["scorer"].is_null());
  CHECK(json["cascade"]["embedder"] == "ab");
  record.deployed = true;
  record.scorer = "cd";
  write_cascade(directory.path(), record);
  const auto again = nlohmann::json::parse(read_file(directory.file("promptcache.json")));
  CHECK(again["cascade"]["second"]["threshold"] == 0.5);
  CHECK(again["cascade"]["second"]["upper_bound"] == 0.016);
  CHECK(again["cascade"]["first"].is_null());
  CHECK(again["cascade"]["scorer"] == "cd");
}
