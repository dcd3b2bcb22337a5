#include "promptcache/train/repeated.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "promptcache/base/file.hpp"
#include "train/scene.hpp"

using namespace promptcache;
using namespace promptcache::train;
using test::Scene;

TEST_CASE("several seeds give the models of single runs, and the best of them in the output directory") {
  Scene scene, single;
  for (Scene* one : {&scene, &single}) one->options.epochs = 8;
  const VariedResult result = train_variations(scene.options, {.seeds = 3});
  REQUIRE(result.runs.size() == 3);
  single.options.seed = 2;
  train::train(single.options);
  CHECK(read_file(scene.options.out + "/runs/seed-2/model.safetensors") == single.weights());
  for (const VariedRun& run : result.runs) CHECK(run.result.best_auc <= result.runs[result.best].result.best_auc);
  CHECK(scene.weights() == read_file(result.runs[result.best].options.out + "/model.safetensors"));
  const auto json = nlohmann::json::parse(read_file(scene.options.out + "/promptcache.json"));
  CHECK(json["runs"].size() == 3);
  CHECK(json["seed"] == result.runs[result.best].options.seed);
}

TEST_CASE("a sweep runs each head with each seed") {
  Scene scene;
  scene.options.epochs = 1;
  const VariedResult result = train_variations(scene.options, {.seeds = 2, .heads = {{0.1, 5}, {0.2, 2.5}}});
  REQUIRE(result.runs.size() == 4);
  std::set<std::string> groups;
  for (const VariedRun& run : result.runs) {
    groups.insert(run.group);
    CHECK(run.result.lambda == Approx(*run.options.lambda));
    CHECK(run.result.offset == Approx(*run.options.offset));
  }
  CHECK(groups == std::set<std::string>{"lambda-0.1-c-5", "lambda-0.2-c-2.5"});
  test::require_error(ErrorCode::usage, {"lambda"}, [&] {
    Scene other;
    train_variations(other.options, {.heads = {{0, 1}}});
  });
}

TEST_CASE("a learning curve trains on growing shares, and the best model is one of the whole") {
  Scene scene;
  scene.options.epochs = 2;
  std::string pairs = "q1\tq2\tlabel\n";  // no two of them share a question
  for (int i = 0; i < 256; ++i) {
    const std::string number = std::to_string(i);
    pairs += "how " + number + "\twhere " + number + "\t" + std::to_string(i % 2) + "\n";
  }
  scene.directory.write("train.tsv", pairs);
  const VariedResult result = train_variations(scene.options, {.shares = {0.25, 1, 0.5}});
  REQUIRE(result.runs.size() == 3);
  CHECK(result.best == 1);
  CHECK(result.runs[1].result.pairs == 256);
  CHECK(result.runs[0].result.pairs < result.runs[2].result.pairs);
}

TEST_CASE("several runs that were interrupted go on where they stood, and end as if they had not been") {
  Scene whole, cut;
  for (Scene* scene : {&whole, &cut}) scene->options.epochs = 3;
  train_variations(whole.options, {.seeds = 2});
  int steps = 0;
  TrainCallbacks callbacks;
  callbacks.stop = [&] { return ++steps > 60; };  // in the second run: each has 48 steps
  CHECK(train_variations(cut.options, {.seeds = 2}, callbacks).interrupted);
  CHECK(std::filesystem::exists(cut.options.out + "/runs/seed-1/promptcache.json"));
  CHECK_FALSE(std::filesystem::exists(cut.options.out + "/model.safetensors"));
  cut.options.resume = true;
  CHECK_FALSE(train_variations(cut.options, {.seeds = 2}).interrupted);
  CHECK(cut.weights() == whole.weights());
  CHECK(read_file(cut.options.out + "/promptcache.json") == read_file(whole.options.out + "/promptcache.json"));

  cut.options.learning_rate = 1e-4;
  test::require_error(ErrorCode::mismatch, {"seed-1", "learning_rate"},
                      [&] { train_variations(cut.options, {.seeds = 2}); });
}
