#include "promptcache/policy/cascade_policy.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "promptcache/eval/calibrate_cascade.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/policy/logistic_evidence.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

constexpr auto similarity_feature = static_cast<std::size_t>(EvidenceFeature::similarity);
constexpr auto pair_feature = static_cast<std::size_t>(EvidenceFeature::pair_logit);

/// P = sigma(10 (s - 0.9)), or sigma(logit) where there is one.
LogisticEvidence model() {
  EvidenceWeights first, second;
  first.weight[similarity_feature] = 10;
  first.center[similarity_feature] = 0.9;
  second.weight[pair_feature] = 1;
  return LogisticEvidence(first, second, 0.5);
}

Evidence at(double similarity, std::optional<double> logit = {}) {
  Evidence evidence;
  evidence.entry = 1;
  evidence.similarity = similarity;
  evidence.pair_logit = logit;
  return evidence;
}

class NamedEmbedder : public Embedder {
 public:
  std::size_t dimension() const override { return 4; }
  Digest identity() const override { return sha256("this one"); }
  EmbedReport embed(std::span<const std::string_view>, std::span<float>) const override { return {}; }
};

class NamedScorer : public PairScorer {
 public:
  Digest identity() const override { return sha256("this scorer"); }
  PairReport score(std::span<const TextPair>, std::span<float>) const override { return {}; }
};

/// A model directory's own file aside, all that `ModelDirectory::open` needs is there already.
std::string directory_with(const test::TemporaryDirectory& directory, const CascadeRecord* record) {
  const std::string path = directory.file("model");
  copy_companion_files(ModelDirectory::open(test::data_file("tiny_bert")), path);
  if (record != nullptr) write_cascade(path, *record);
  return path;
}

CascadeRecord record() {
  CascadeRecord record;
  record.calibration.model = model();
  record.calibration.first.chosen = HitBound{0.88, 200, 0, 0.015};
  record.calibration.second.chosen = HitBound{0.62, 400, 1, 0.012};
  record.deployed = true;
  record.options.target = 0.02;
  record.embedder = sha256("this one").hex();
  record.scorer = sha256("this scorer").hex();
  return record;
}

double sigma(double z) { return 1 / (1 + std::exp(-z)); }

}  // namespace

TEST_CASE("a cascade serves above its stage's threshold") {
  const CascadePolicy policy(std::make_shared<LogisticEvidence>(model()), {.threshold = 0.8, .bound = 0.02},
                             {.threshold = 0.6});
  CHECK_FALSE(policy.decide(at(0.9)).serve);
  CHECK(policy.decide(at(0.9)).probability.value() == Approx(0.5));
  CHECK(policy.decide(at(0.9)).reason == Reason::not_similar);
  CHECK(policy.decide(at(1.0, {})).probability.value() == Approx(sigma(1)));
  CHECK_FALSE(policy.decide(at(1.0)).serve);
  CHECK(policy.decide(at(0.9, 0.5)).serve);
  CHECK(policy.decide(at(0.9, 0.5)).reason == Reason::similar);
  CHECK_FALSE(policy.decide(at(0.9, 0.5)).bound);
  CHECK(policy.decide(at(0.9)).bound == 0.02);
  CHECK_FALSE(policy.decide(at(0.99, -3.0)).serve);
  CHECK_FALSE(policy.decide(at(NAN)).serve);
  CHECK(policy.wants_pair_logit(at(0.6)));
  CHECK_FALSE(policy.wants_pair_logit(at(0.4)));
  CHECK_FALSE(policy.wants_guards());
  CHECK(policy.describe() ==
        "cascade: without a pair's logit P > 0.8, at most 0.02 wrong hits proven; with it P > 0.6");

  const auto again = make_policy(policy.parameters());
  CHECK(again->parameters() == policy.parameters());
  CHECK(again->decide(at(0.93)).probability == policy.decide(at(0.93)).probability);
  CHECK(make_policy(CascadePolicy(std::make_shared<LogisticEvidence>(model()), {}, {}).parameters())
            ->decide(at(1, 9.0))
            .serve == false);
  test::require_error(ErrorCode::format, {"first"}, [] { make_policy(R"({"kind": "cascade"})"); });
  test::require_error(ErrorCode::usage, {"no model"}, [] { CascadePolicy made(nullptr, {}, {}); });
  test::require_error(ErrorCode::numeric, {"second.threshold"},
                      [] { CascadePolicy made(std::make_shared<LogisticEvidence>(model()), {}, {.threshold = NAN}); });
  test::require_error(ErrorCode::usage, {"first.bound"}, [] {
    CascadePolicy made(std::make_shared<LogisticEvidence>(model()), {.threshold = 0.5, .bound = 2}, {});
  });
}

TEST_CASE("a cascade is opened with what was proven for its models, and refused with others") {
  const test::TemporaryDirectory temporary;
  const CascadeRecord known = record();
  const std::string path = directory_with(temporary, &known);
  const NamedEmbedder embedder;
  const NamedScorer scorer;
  const auto policy = CascadePolicy::open(path, embedder, &scorer, {.target_wrong_hits = 0.02});
  CHECK(policy->first().threshold == 0.88);
  CHECK(policy->first().bound == 0.015);
  CHECK(policy->second().threshold == 0.62);
  CHECK(policy->second().bound == 0.012);

  const auto stricter = CascadePolicy::open(path, embedder, &scorer, {.target_wrong_hits = 0.01});
  CHECK(stricter->second().threshold == Approx(0.99));
  CHECK_FALSE(stricter->second().bound);
  CHECK(stricter->decide(at(0.9, std::log(99.0) + 1e-9)).serve);
  const auto costs = CascadePolicy::open(path, embedder, &scorer, {.wrong_hit_cost = 9});
  CHECK(costs->second().threshold == Approx(0.9));
  const auto alone = CascadePolicy::open(path, embedder, nullptr, {.target_wrong_hits = 0.02});
  CHECK_FALSE(alone->decide(at(0.9, 12.0)).serve);
  CHECK(alone->first().threshold == 0.88);

  CascadeRecord other = known;
  other.embedder = sha256("another").hex();
  write_cascade(path, other);
  test::require_error(ErrorCode::mismatch, {"promptcache.json", "embedder", "pc-calibrate"},
                      [&] { CascadePolicy::open(path, embedder, &scorer, {.target_wrong_hits = 0.02}); });
  other = known;
  other.scorer = "";
  write_cascade(path, other);
  test::require_error(ErrorCode::mismatch, {"pair scorer none"},
                      [&] { CascadePolicy::open(path, embedder, &scorer, {.target_wrong_hits = 0.02}); });
  test::require_error(ErrorCode::usage, {"both"}, [&] {
    CascadePolicy::open(path, embedder, &scorer, {.target_wrong_hits = 0.02, .wrong_hit_cost = 1});
  });
}

TEST_CASE("a model directory without a cascade, and one with a broken one, are refused by name") {
  const test::TemporaryDirectory temporary;
  const std::string path = directory_with(temporary, nullptr);
  const NamedEmbedder embedder;
  const auto open = [&] { CascadePolicy::open(path, embedder, nullptr, {.target_wrong_hits = 0.02}); };
  test::require_error(ErrorCode::not_found, {"promptcache.json", "no cascade", "pc-calibrate"}, open);
  temporary.write("model/promptcache.json", R"({"cascade": {"embedder": 5}})");
  test::require_error(ErrorCode::format, {"promptcache.json"}, open);
}
