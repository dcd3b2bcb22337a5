#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "promptcache/base/digest.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/embed/transformer_pair_scorer.hpp"
#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/cascade_policy.hpp"
#include "tiny_scorer.hpp"
#include "tools/run_tool.hpp"

namespace {

using test::require_code;
using test::run_tool;
using test::ToolResult;

/// Words of the tiny model's vocabulary, four of them for each number, so that no two texts are the same.
std::string text_of(std::size_t number) {
  static const char* words[] = {"how", "reset",   "what",   "where", "change",
                                "my",  "account", "delete", "open",  "password"};
  std::string text;
  for (int i = 0; i < 5; ++i, number /= 10) text += std::string(i > 0 ? " " : "") + words[number % 10];
  return text;
}

/// Positives ask the same thing with a question mark more, negatives something else, so that the tiny model's
/// similarity, random as its weights are, rises with the label. Every pair is a cluster of its own.
std::string some_pairs(std::size_t count, std::size_t first, bool rising = true, std::size_t one_in = 2) {
  std::string text = "q1\tq2\tlabel\n";
  for (std::size_t i = 0; i < count; ++i) {
    const bool same = i % one_in != 0;
    text += text_of(2 * (first + i)) + "\t" +
            (same ? text_of(2 * (first + i)) + " ?" : text_of(2 * (first + i) + 53579)) + "\t" +
            (same == rising ? "1" : "0") + "\n";
  }
  return text;
}

/// A copy of the tiny model that may be written to.
std::string copy_of_model(const test::TemporaryDirectory& directory, const std::string& name = "model") {
  std::filesystem::copy(test::data_file("tiny_bert"), directory.file(name), std::filesystem::copy_options::recursive);
  return directory.file(name);
}

nlohmann::json read_json(const std::string& path) { return nlohmann::json::parse(promptcache::read_file(path)); }

}  // namespace

TEST_CASE("pc-eval reports intervals by cluster and tested thresholds, and recommends none on its own") {
  const test::TemporaryDirectory directory;
  const std::string model = copy_of_model(directory);
  directory.write("model/promptcache.json", R"({"lambda": 0.05, "c": 16})");
  const std::string pairs = directory.write("p.tsv", some_pairs(600, 0, true, 4));
  const ToolResult result = run_tool("pc-eval --model " + model + " --baseline " + test::data_file("tiny_xlmr") +
                                     " --pairs " + pairs + " --json " + directory.file("e.json"));
  require_code(result, 0,
               {"600 question clusters", "by cluster", "ECE if perfect", "for pairs drawn like this file",
                "no threshold is recommended", "right hits kept"});
  const auto json = read_json(directory.file("e.json"));
  for (const char* who : {"model", "baseline"}) {
    CHECK(json[who]["auc_cluster_low"] <= json[who]["auc"]);
    CHECK(json[who]["auc_cluster_high"] >= json[who]["auc"]);
  }
  CHECK(json["model"]["ece_low"] <= json["model"]["ece"]);
  CHECK(json["model"]["ece_high"] >= json["model"]["ece"]);
  CHECK(json["model"]["brier_low"] < json["model"]["brier"]);
  CHECK(json["model"]["ece_if_calibrated"].is_number());
  CHECK(json["model"]["calibrated"].is_null());
  CHECK(json["baseline"]["ece_low"].is_null());
  CHECK(json["difference"]["p_value_cluster"].is_number());
  CHECK(json["difference"]["auc_cluster_low"] <= json["difference"]["auc"]);
  CHECK(json["clusters"]["count"] == 600);
  CHECK(json["clusters"]["largest"] == 1);
  const auto hits = json["wrong_hits"]["model"];
  CHECK(hits["for"] == "pairs drawn like this file");
  CHECK(hits["tested"].size() >= 1);
  CHECK(hits["recommended"].is_null());
  CHECK(json["bounds"].is_null());
  CHECK(promptcache::read_file(directory.file("model/promptcache.json")) == R"({"lambda": 0.05, "c": 16})");
}

TEST_CASE("pc-eval calibrates on other pairs, tests thresholds there, and judges both") {
  const test::TemporaryDirectory directory;
  const std::string begin = "pc-eval --model " + copy_of_model(directory) + " --pairs " +
                            directory.write("p.tsv", some_pairs(800, 0, true, 4)) + " --calibration ";
  const std::string calibration = directory.write("c.tsv", some_pairs(1000, 5000, true, 4));
  const ToolResult result = run_tool(begin + calibration + " --deployed --json " + directory.file("e.json"));
  require_code(
      result, 0,
      {"as deployed", "recommended: serve above", "on the judged pairs", "ECE (15 bins), after", "no lambda and c"});
  const auto json = read_json(directory.file("e.json"));
  CHECK(json["model"]["ece"].is_null());
  CHECK(json["model"]["calibrated"]["ece"].is_number());
  CHECK(json["model"]["calibrated"]["fit_pairs"] == 500);
  const auto hits = json["wrong_hits"]["model"];
  CHECK(hits["pairs"] == 500);
  CHECK(hits["recommended"]["upper_bound"] <= 0.02);
  CHECK(hits["judged"]["hits"] > 0);
  CHECK(hits["tested_on"] == "half of the calibration pairs");
  for (const auto& note : json["notes"]) CHECK(note.get<std::string>().find("too good") == std::string::npos);

  // The first 250 of these are judged as well.
  require_code(run_tool(begin + directory.write("o.tsv", some_pairs(1000, 550, true, 4))), 0,
               {"questions of the calibration pairs occur in the judged pairs", "no threshold is recommended"});
  require_code(run_tool(begin + directory.write("f.tsv", some_pairs(1000, 5000, false, 4))), 0,
               {"No lambda and c could be fitted", "do not rise"});
  require_code(run_tool(begin + directory.write("s.tsv", some_pairs(100, 5000)) + " --deployed"), 0,
               {"too few pairs to test any threshold", "149 hits"});
  require_code(run_tool(begin + calibration + " --target-wrong-hits 0"), 2, {"target", "between 0 and 1"});
  require_code(run_tool(begin + calibration + " --confidence 1"), 2, {"confidence", "between 0 and 1"});
  require_code(run_tool(begin + directory.write("e.tsv", "")), 2, {"e.tsv", "empty"});
  require_code(run_tool(begin + directory.path()), 2, {directory.path()});
  require_code(run_tool(begin + directory.write("n.tsv", "q1\tq2\tlabel\na\tb\tnan\n")), 2, {"n.tsv:2", "'nan'"});
}

TEST_CASE("pc-eval on pairs that are all linked says so") {
  const test::TemporaryDirectory directory;
  std::string text = "q1\tq2\tlabel\n";
  for (std::size_t i = 1; i < 200; ++i) text += text_of(0) + "\t" + text_of(i) + "\t" + (i % 2 == 0 ? "1" : "0") + "\n";
  const ToolResult result = run_tool("pc-eval --model " + copy_of_model(directory) + " --pairs " +
                                     directory.write("p.tsv", text) + " --json " + directory.file("e.json"));
  require_code(result, 0, {"1 question clusters", "no intervals by cluster", "too few pairs to test"});
  CHECK(read_json(directory.file("e.json"))["model"]["auc_cluster_low"].is_null());
}

TEST_CASE("pc-eval gives the bounds of a model that says how it was trained, and that they say nothing") {
  const test::TemporaryDirectory directory;
  const std::string model = copy_of_model(directory);
  directory.write("model/promptcache.json",
                  R"({"lambda": 0.05, "c": 16, "loss": "bce", "pairs": {"train": 26167, "valid": 10}})");
  require_code(run_tool("pc-eval --model " + model + " --pairs " + directory.write("p.tsv", some_pairs(200, 0)) +
                        " --json " + directory.file("e.json")),
               0, {"ours, not the paper's", "26167 training pairs", "says nothing below", "measured: between"});
  const auto bounds = read_json(directory.file("e.json"))["bounds"];
  CHECK(bounds["B"].get<double>() == Approx(20 + 16 + std::log(2)));
  CHECK(bounds["bce_says_something"] == false);
  CHECK(bounds["bce_pairs_needed"] > 26167);
  CHECK(bounds["measured_low"] <= bounds["measured_high"]);
  CHECK(bounds["parameters"] > 10000);
}

TEST_CASE("pc-eval forecasts what twice the labels would bring, with or without a model") {
  const test::TemporaryDirectory directory;
  std::string text = "pairs\tauc\tseed\n";
  for (const int pairs : {500, 1000, 2000, 4000}) {
    for (int seed = 0; seed < 3; ++seed) {
      text += std::to_string(pairs) + "\t" +
              std::to_string(0.9 - 3 * std::pow(pairs, -0.5) + 0.001 * (seed * 7 % 3 - 1)) + "\t1\n";
    }
  }
  const std::string curve = " --learning-curve " + directory.write("l.tsv", text);
  require_code(run_tool("pc-eval" + curve + " --json " + directory.file("l.json")), 0, {"with twice as many"});
  const auto json = read_json(directory.file("l.json"))["learning_curve"];
  CHECK(json["informative"] == true);
  CHECK(json["twice"]["pairs"] == 8000);
  CHECK(json["twice"]["auc_low"] < json["twice"]["auc"]);
  CHECK(json["twice"]["auc"].get<double>() == Approx(0.9 - 3 * std::pow(8000, -0.5)).margin(0.005));
  require_code(run_tool("pc-eval --model " + copy_of_model(directory) + " --pairs " +
                        directory.write("p.tsv", some_pairs(60, 0)) + curve),
               0, {"with twice as many", "AUC"});
  require_code(run_tool("pc-eval --learning-curve " + directory.write("m.tsv", "pairs\tauc\n100\t0.5\n")), 0,
               {"no forecast", "Three sizes"});
  require_code(run_tool("pc-eval --learning-curve " + directory.write("b.tsv", "pairs\tauc\n100\t7\n")), 2,
               {"b.tsv:2", "'7'"});
  require_code(run_tool("pc-eval --learning-curve " + directory.path()), 2, {directory.path()});
  require_code(run_tool("pc-eval --pairs x" + curve), 2, {"--model is required"});
}

TEST_CASE("pc-calibrate writes lambda, c and a verified threshold, which the policy takes up with its bound") {
  const test::TemporaryDirectory directory;
  const std::string model = copy_of_model(directory);
  const std::string pairs = directory.write("c.tsv", some_pairs(1200, 0, true, 4));
  const std::string begin = "pc-calibrate --model " + model + " --calibration ";
  const std::string extras = directory.file("model/promptcache.json");
  require_code(run_tool("pc-calibrate --help"), 0, {"Example", "--deployed"});

  // There is no promptcache.json yet.
  require_code(run_tool(begin + pairs + " --deployed --json " + directory.file("j.json")), 0,
               {"1200 question clusters", "recommended: serve above", "wrote lambda and c and the threshold", "f32"});
  auto json = read_json(extras);
  CHECK(json["calibration"]["sha256"] == promptcache::sha256_file(pairs).hex());
  CHECK(json["calibration"]["precision"] == "f32");
  CHECK(json["calibration"]["deployed"] == true);
  CHECK(json["calibration"]["clusters"] == 1200);
  CHECK(json["calibration"]["upper_bound"] <= 0.02);
  CHECK(json["threshold"] == read_json(directory.file("j.json"))["threshold"]);
  const auto policy = promptcache::CalibratedPolicy::open(model, {.target_wrong_hits = 0.02});
  CHECK(policy->threshold() == json["threshold"].get<double>());
  CHECK(policy->decide({1, 0.99, {}}).bound == json["calibration"]["upper_bound"].get<double>());

  // Not said to be deployed: lambda and c stay as they were, the threshold goes, other fields stay.
  const double lambda = json["lambda"].get<double>();
  json["mine"] = {1, 2, 3};
  directory.write("model/promptcache.json", json.dump());
  require_code(run_tool(begin + pairs), 0, {"no threshold is recommended", "no threshold: ", "--deployed"});
  json = read_json(extras);
  CHECK_FALSE(json.contains("threshold"));
  CHECK(json["lambda"] == lambda);
  CHECK(json["mine"] == nlohmann::json({1, 2, 3}));
  CHECK(json["calibration"]["upper_bound"].is_null());
  CHECK_FALSE(promptcache::CalibratedPolicy::open(model, {.target_wrong_hits = 0.02})->decide({1, 0.99, {}}).bound);

  require_code(run_tool(begin + directory.write("s.tsv", some_pairs(100, 0)) + " --deployed"), 0,
               {"too few pairs", "no threshold: there are too few question clusters"});
}

TEST_CASE("pc-calibrate fits a cascade, which pc-eval judges and the policy serves by") {
  const test::TemporaryDirectory directory;
  const test::TinyScorer tiny("tiny_bert"), other("tiny_xlmr");
  const std::string model = copy_of_model(directory), scorer = tiny.path();
  const std::string pairs = directory.write("c.tsv", some_pairs(1200, 0, true, 4));
  const std::string calibrate = "pc-calibrate --model " + model + " --calibration " + pairs;
  require_code(run_tool(calibrate + " --scorer " + scorer), 0, {"with it"});
  CHECK(read_json(directory.file("model/promptcache.json"))["cascade"]["guards"] == "off");
  const std::string flagging = calibrate + " --deployed --guards flag --scorer " + scorer;
  require_code(run_tool(flagging + " --json " + directory.file("j.json")), 0,
               {"cascade:", "without the pair scorer", "with it", "and a cascade"});
  const auto cascade = read_json(directory.file("model/promptcache.json"))["cascade"];
  CHECK(cascade["deployed"] == true);
  CHECK(cascade["guards"] == "flag");
  CHECK(cascade["fit_pairs"] == 600);
  CHECK(cascade["model"] == read_json(directory.file("j.json"))["cascade"]["model"]);
  REQUIRE(cascade["second"].is_object());
  CHECK(cascade["second"]["upper_bound"] <= 0.02);

  const auto embedder = promptcache::TransformerEmbedder::open(model, {.precision = promptcache::Precision::f32});
  const auto reads = promptcache::TransformerPairScorer::open(scorer, {.precision = promptcache::Precision::f32});
  const auto policy = promptcache::CascadePolicy::open(model, *embedder, reads.get(), {.target_wrong_hits = 0.02});
  CHECK(policy->second().bound == cascade["second"]["upper_bound"].get<double>());
  CHECK(policy->wants_guards());
  REQUIRE(policy->guards() != nullptr);
  CHECK_FALSE(policy->guards()->veto(policy->guards()->flags("boil 5 eggs", "boil 7 eggs")));

  const std::string eval = "pc-eval --model " + model + " --pairs " + directory.write("e.tsv", some_pairs(400, 5000));
  require_code(run_tool(eval + " --kind cascade --scorer " + scorer + " --json " + directory.file("e.json")), 0,
               {"AUC"});
  const auto judged = read_json(directory.file("e.json"));
  CHECK(judged["model"]["auc"] > 0.9);
  CHECK(judged["model"]["ece"].is_number());
  require_code(run_tool(eval + " --kind cascade"), 2, {"--kind", "cascade", "encoder", "--scorer"});
  require_code(run_tool(eval + " --kind pair"), 2, {"--kind", "encoder"});
  require_code(run_tool("pc-eval --kind pair --model " + scorer + " --pairs " + pairs), 0, {"AUC"});
  require_code(run_tool(eval + " --scorer " + other.path()), 2, {"promptcache.json", "pair scorer"});
  require_code(run_tool(eval + " --scorer " + scorer + " --valid " + pairs), 2, {"--valid", "cascade"});

  // A scorer that is none changes nothing; a cascade without one has one stage, and none without pairs as deployed.
  const std::string before = promptcache::read_file(directory.file("model/promptcache.json"));
  require_code(run_tool(calibrate + " --scorer " + test::data_file("tiny_bert")), 2, {"tiny_bert"});
  require_code(run_tool(calibrate + " --scorer /nowhere"), 2, {"/nowhere"});
  CHECK(promptcache::read_file(directory.file("model/promptcache.json")) == before);
  require_code(run_tool(calibrate + " --cascade --guards off"), 0, {"its thresholds not written"});
  const auto alone = read_json(directory.file("model/promptcache.json"))["cascade"];
  CHECK(alone["scorer"].is_null());
  CHECK(alone["model"]["second"].is_null());
  CHECK(alone["first"].is_null());
  CHECK(alone["guards"] == "off");
  CHECK(promptcache::CascadePolicy::open(model, *embedder, nullptr, {.target_wrong_hits = 0.02})->guards() == nullptr);
  require_code(run_tool(calibrate + " --cascade --guards veto"), 0, {"cascade"});
  const auto vetoing = promptcache::CascadePolicy::open(model, *embedder, nullptr, {.target_wrong_hits = 0.02});
  REQUIRE(vetoing->guards() != nullptr);
  CHECK(vetoing->guards()->veto(vetoing->guards()->flags("boil 5 eggs", "boil 7 eggs")));
  require_code(run_tool(calibrate + " --guards sometimes"), 2, {"--guards", "sometimes"});
}

TEST_CASE("pc-calibrate warns of pairs that the model was trained with") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("c.tsv", some_pairs(400, 0));
  const std::string model = copy_of_model(directory);
  directory.write("model/promptcache.json",
                  R"({"sha256": {"base_model": "00", "valid": ")" + promptcache::sha256_file(pairs).hex() + "\"}}");
  require_code(run_tool("pc-calibrate --model " + model + " --calibration " + pairs + " --train " +
                        directory.write("t.tsv", some_pairs(400, 390)) + " --train " +
                        directory.write("u.tsv", some_pairs(400, 2000)) + " --json " + directory.file("j.json")),
               0, {"the very file", "--valid", "15 questions of", "t.tsv"});
  CHECK(read_json(directory.file("j.json"))["warnings"].size() == 2);
}

TEST_CASE("pc-calibrate leaves the model alone when it cannot calibrate it") {
  const test::TemporaryDirectory directory;
  const std::string model = copy_of_model(directory);
  const std::string before = R"({"lambda": 0.05, "c": 16, "loss": "sld"})";
  directory.write("model/promptcache.json", before);
  const std::string begin = "pc-calibrate --model " + model + " --calibration ";
  const std::string good = directory.write("g.tsv", some_pairs(400, 0));
  const auto refuse = [&](const std::string& arguments, std::initializer_list<std::string> pieces) {
    require_code(run_tool(begin + arguments), 2, pieces);
    CHECK(promptcache::read_file(directory.file("model/promptcache.json")) == before);
    CHECK_FALSE(std::filesystem::exists(directory.file("model/promptcache.json.partial")));
  };
  refuse(directory.write("f.tsv", some_pairs(400, 0, false)), {"f.tsv", "do not rise"});
  std::string one_class = "q1\tq2\tlabel\n", flat = one_class, linked = one_class;
  for (std::size_t i = 0; i < 50; ++i) {
    one_class += text_of(2 * i) + "\t" + text_of(2 * i + 1) + "\t0\n";
    flat += text_of(i) + "\t" + text_of(i) + "\t" + (i % 2 == 0 ? "1\n" : "0\n");
  }
  refuse(directory.write("o.tsv", one_class), {"o.tsv", "one class"});
  require_code(run_tool(begin + directory.write("flat.tsv", flat)), 2, {"flat.tsv"});
  refuse(directory.write("e.tsv", ""), {"e.tsv", "empty"});
  refuse(directory.write("l.tsv", "q1\tq2\tlabel\na\tb\t2\n"), {"l.tsv:2", "label '2'"});
  refuse(directory.path(), {directory.path()});
  refuse("/nowhere.tsv", {"/nowhere.tsv"});
  refuse(good + " --target-wrong-hits 0", {"target"});
  refuse(good + " --target-wrong-hits 1.5", {"target"});
  refuse(good + " --confidence 1", {"confidence"});
  require_code(run_tool("pc-calibrate --calibration " + good), 2, {"--model is required"});
  require_code(run_tool("pc-calibrate --model /nowhere --calibration " + good), 2, {"/nowhere"});

  directory.write("model/promptcache.json", "{\"lambda\": ");
  require_code(run_tool(begin + good), 2, {"promptcache.json", "no JSON"});
  CHECK(promptcache::read_file(directory.file("model/promptcache.json")) == "{\"lambda\": ");
  directory.write("model/promptcache.json", before);
  // A place that cannot be written to, also for root: the partial file's name is taken by a directory.
  std::filesystem::create_directory(directory.file("model/promptcache.json.partial"));
  require_code(run_tool(begin + good), 2, {"promptcache.json", "permission to save"});
  CHECK(promptcache::read_file(directory.file("model/promptcache.json")) == before);
}
