#include "promptcache/train/trainer.hpp"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden.hpp"
#include "promptcache/base/digest.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/text/tokenizer.hpp"
#include "promptcache/train/encoder.hpp"
#include "train/scene.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::train;
using test::Scene;

/// The trainer's encoder must give the golden vectors of sentence-transformers.
void require_golden_forward(const std::string& model, const std::string& golden_name) {
  const ModelDirectory directory = ModelDirectory::open(model);
  const auto tokenizer = open_tokenizer(directory);
  const Encoder encoder(directory, load_encoder_weights(directory), torch::kCPU);
  const nlohmann::json golden = test::golden_json(golden_name);
  const torch::NoGradGuard no_grad;
  std::vector<std::vector<std::int32_t>> ids;
  for (std::size_t i = 0; i < 64; ++i) {
    ids.push_back(
        tokenizer->encode(directory.prefix() + golden["texts"][i].get<std::string>(), directory.max_tokens()).ids);
  }
  std::vector<TokenSequence> sequences;
  for (const auto& sequence : ids) sequences.push_back({sequence});
  const torch::Tensor vectors = encoder.forward(pack(sequences, directory.encoder(), torch::kCPU));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto wanted = golden["embeddings"][i].get<std::vector<double>>();
    double norm = 0;
    for (double value : wanted) norm += value * value;
    double farthest = 0;
    for (std::size_t j = 0; j < wanted.size(); ++j) {
      farthest = std::max(farthest, std::abs(vectors[static_cast<long>(i)][static_cast<long>(j)].item<double>() -
                                             wanted[j] / std::sqrt(norm)));
    }
    CAPTURE(i);
    CHECK(farthest < 1e-5);
  }
}

}  // namespace

TEST_CASE("the trainer's forward pass gives the vectors of sentence-transformers for tiny models") {
  require_golden_forward(test::data_file("tiny_bert"), "tiny_bert_embeddings.json.gz");
}

TEST_CASE("the trainer's forward pass gives the vectors of sentence-transformers for MiniLM") {
  PROMPTCACHE_REQUIRE_MINILM();
  require_golden_forward(test::minilm_directory(), "minilm_embeddings.json.gz");
}

TEST_CASE("training learns what the labels say, with every loss and head") {
  for (const char* loss : {"bce", "sld", "sld-symmetric", "cosine", "contrastive", "triplet"}) {
    for (Head head : {Head::platt, Head::learned}) {
      CAPTURE(loss, static_cast<int>(head));
      Scene scene;
      scene.options.loss = loss;
      scene.options.head = head;
      scene.options.epochs = 24;
      const TrainResult result = train::train(scene.options);
      // The log differences give smaller gradients here: they get there, but later.
      CHECK(result.best_auc > (loss == std::string("bce") ? 0.8 : 0.6));
      CHECK(result.best_auc > result.start_auc);
      const ModelDirectory model = ModelDirectory::open(scene.options.out);
      CHECK(model.extras().lambda == Approx(result.lambda));
      CHECK(model.extras().offset == Approx(result.offset));
      CHECK_FALSE(std::filesystem::exists(scene.options.out + "/checkpoint.safetensors"));
    }
  }
}

TEST_CASE("an XLM-RoBERTa is trained and written as one") {
  Scene scene;
  std::filesystem::remove_all(scene.options.model);
  std::filesystem::copy(test::data_file("tiny_xlmr"), scene.options.model, std::filesystem::copy_options::recursive);
  const TrainResult result = train::train(scene.options);
  CHECK(result.epochs == scene.options.epochs);
  const ModelDirectory written = ModelDirectory::open(scene.options.out);
  CHECK(written.encoder().architecture == Architecture::xlm_roberta);
  CHECK(open_tokenizer(written)->encode("how do i reset it", 64).ids ==
        open_tokenizer(ModelDirectory::open(scene.options.model))->encode("how do i reset it", 64).ids);
}

TEST_CASE("training on labels drawn at random stays at chance on other pairs") {
  Scene scene;
  scene.directory.write("train.tsv", test::word_pairs(256, 3, true));
  scene.options.epochs = 14;
  const TrainResult result = train::train(scene.options);
  const auto json = nlohmann::json::parse(read_file(scene.options.out + "/promptcache.json"));
  for (const auto& epoch : json["validation"]["epochs"]) {
    CHECK(epoch["valid_auc"].get<double>() < result.start_auc + 0.25);  // with true labels it passes 0.95
  }
}

TEST_CASE("the same seed and thread count give the same bytes, another seed others") {
  Scene first, second, third;
  // Enough for an epoch to beat the untouched model, whose weights would be written for any seed otherwise.
  for (Scene* scene : {&first, &second, &third}) scene->options.epochs = 14;
  train::train(first.options);
  train::train(second.options);
  third.options.seed = 2;
  REQUIRE(train::train(third.options).best_epoch > 0);
  CHECK(first.weights() != read_file(first.options.model + "/model.safetensors"));
  CHECK(sha256(first.weights()).hex() == sha256(second.weights()).hex());
  CHECK(sha256(first.weights()).hex() != sha256(third.weights()).hex());
  CHECK(read_file(first.options.out + "/promptcache.json") == read_file(second.options.out + "/promptcache.json"));
}

TEST_CASE("an interrupted and resumed run gives the bytes of an uninterrupted one") {
  Scene whole, cut;
  train::train(whole.options);
  int steps = 0;
  TrainCallbacks callbacks;
  callbacks.stop = [&] { return ++steps > 24; };  // in the middle of the second epoch
  const TrainResult stopped = train::train(cut.options, callbacks);
  CHECK(stopped.interrupted);
  CHECK_FALSE(std::filesystem::exists(cut.options.out + "/model.safetensors"));
  cut.options.resume = true;
  const TrainResult resumed = train::train(cut.options);
  CHECK_FALSE(resumed.interrupted);
  CHECK(cut.weights() == whole.weights());
  CHECK(read_file(cut.options.out + "/promptcache.json") == read_file(whole.options.out + "/promptcache.json"));
}

TEST_CASE("a run that is killed goes on from its last checkpoint, to the same bytes") {
  Scene whole, cut;
  whole.options.epochs = cut.options.epochs = 2;
  train::train(whole.options);
  cut.options.checkpoint_every = std::chrono::seconds(0);  // after each batch
  int steps = 0;
  TrainCallbacks callbacks;
  callbacks.stop = [&]() -> bool {
    if (++steps == 10) throw std::runtime_error("killed");
    return false;
  };
  CHECK_THROWS_WITH(train::train(cut.options, callbacks), "killed");
  cut.options.resume = true;
  std::vector<std::string> records;
  TrainCallbacks watching;
  watching.record = [&](const std::string& line) { records.push_back(line); };
  train::train(cut.options, watching);
  CHECK(records.front().find("\"step\":10,") != std::string::npos);
  CHECK(cut.weights() == whole.weights());
}

TEST_CASE("resuming with other options, or without a checkpoint, is refused") {
  Scene scene;
  TrainCallbacks callbacks;
  callbacks.stop = [] { return true; };
  train::train(scene.options, callbacks);
  scene.options.resume = true;
  scene.options.seed = 9;
  test::require_error(ErrorCode::mismatch, {"checkpoint.safetensors", "\"seed\":9"},
                      [&] { train::train(scene.options); });
  scene.options.out = scene.directory.file("elsewhere");
  test::require_error(ErrorCode::not_found, {"checkpoint.safetensors"}, [&] { train::train(scene.options); });
}

TEST_CASE("bad input is refused before anything is trained") {
  Scene scene;
  scene.directory.write("valid.tsv", "q1\tq2\tlabel\na\tb\t1\nc\td\t1\n");
  test::require_error(ErrorCode::usage, {"valid.tsv", "positive pairs only"}, [&] { train::train(scene.options); });
  Scene full;
  full.directory.write("out/precious", "x");
  test::require_error(ErrorCode::usage, {"/out", "something there"}, [&] { train::train(full.options); });
  CHECK(read_file(full.options.out + "/precious") == "x");
  Scene device;
  device.options.device = "cuda";
  if (!torch::cuda::is_available()) {
    test::require_error(ErrorCode::usage, {"cuda"}, [&] { train::train(device.options); });
  }
  Scene loss;
  loss.options.loss = "hinge";
  test::require_error(ErrorCode::usage, {"hinge"}, [&] { train::train(loss.options); });
}

TEST_CASE("a diverging run stops with an error that says so") {
  Scene scene;
  scene.options.learning_rate = 1e30;
  test::require_error(ErrorCode::diverged, {"epoch", "smaller learning rate"}, [&] { train::train(scene.options); });
}

TEST_CASE("a full disk while saving leaves the older checkpoint") {
  Scene scene;
  int steps = 0;
  TrainCallbacks callbacks;
  callbacks.stop = [&] { return ++steps > 3; };
  train::train(scene.options, callbacks);
  const std::string checkpoint = scene.options.out + "/checkpoint.safetensors";
  const std::string before = read_file(checkpoint);
  std::filesystem::create_symlink("/dev/full", checkpoint + ".partial");
  scene.options.resume = true;
  test::require_error(ErrorCode::io, {"checkpoint.safetensors", "No space left"}, [&] { train::train(scene.options); });
  CHECK(read_file(checkpoint) == before);
}

TEST_CASE("questions on both sides are warned of, with their number") {
  Scene scene;
  scene.options.valid = scene.options.train;
  scene.options.epochs = 1;
  std::string warnings;
  TrainCallbacks callbacks;
  callbacks.log = [&](LogLevel level, std::string_view text) {
    if (level == LogLevel::warning) warnings += text;
  };
  train::train(scene.options, callbacks);
  CHECK(warnings.find("questions of") != std::string::npos);
}
