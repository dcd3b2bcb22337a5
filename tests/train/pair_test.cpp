#include <cmath>
#include <nlohmann/json.hpp>

#include "golden.hpp"
#include "promptcache/embed/transformer_pair_scorer.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/pair_head.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/text/tokenizer.hpp"
#include "promptcache/train/encoder.hpp"
#include "text/pair_encoding.hpp"
#include "tiny_scorer.hpp"
#include "train/scene.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::train;

/// Pairs whose label hangs on both texts: whether both or neither ask for something new.
std::string matching_pairs(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  const char* words[] = {"password", "address", "order", "train", "river", "cache"};
  std::string text = "q1\tq2\tlabel\n";
  for (std::size_t i = 0; i < count; ++i) {
    const bool first = random() % 2 == 0, second = random() % 2 == 0;
    const auto one = [&](bool fresh) {
      return std::string(fresh ? "a new " : "the old ") + words[random() % 6] + " " + std::to_string(random() % 100);
    };
    text += one(first) + "\t" + one(second) + (first == second ? "\t1\n" : "\t0\n");
  }
  return text;
}

/// A scorer to be made of the tiny encoder, and options under which it learns in seconds.
struct PairScene : test::Scene {
  PairScene() {
    options.kind = Kind::pair;
    options.train = directory.write("train.tsv", matching_pairs(512, 1));
    options.valid = directory.write("valid.tsv", matching_pairs(100, 2));
    options.epochs = 12;
  }
};

}  // namespace

TEST_CASE("the trainer reads pairs as sentence-transformers' CrossEncoder does") {
  for (const std::string encoder : {"tiny_bert", "tiny_xlmr"}) {
    const test::TinyScorer tiny(encoder);
    const ModelDirectory model = ModelDirectory::open(tiny.path());
    const Encoder scorer(model, load_encoder_weights(model), torch::kCPU, load_pair_head(model));
    const auto tokenizer = open_tokenizer(model);
    const nlohmann::json golden = tiny.golden();
    const auto texts = golden.at("texts").get<std::vector<std::string>>();
    std::vector<text::PairEncoding> pairs;
    for (const std::string& first : texts) {
      for (const std::string& second : texts) {
        pairs.push_back(text::encode_pair(*tokenizer, model.encoder().architecture, first, second, model.max_tokens()));
      }
    }
    std::vector<TokenSequence> sequences;
    for (const text::PairEncoding& pair : pairs) sequences.push_back({pair.ids, pair.second_text});
    const torch::NoGradGuard no_grad;
    for (const bool reference : {false, true}) {
      ForwardOptions options;
      options.reference = reference;
      const torch::Tensor logits = scorer.forward(pack(sequences, model.encoder(), torch::kCPU), options);
      REQUIRE(logits.sizes() == torch::IntArrayRef({static_cast<long>(pairs.size()), 1}));
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        CAPTURE(encoder, i, reference);
        CHECK(logits[static_cast<long>(i)][0].item<double>() == Approx(golden["logits"][i].get<double>()).margin(2e-5));
      }
    }
  }
}

TEST_CASE("a pair scorer learns what the labels say of both texts, and serves as it was trained") {
  PairScene scene;
  const TrainResult result = train::train(scene.options);
  CHECK(result.start_auc < 0.8);
  CHECK(result.best_auc > 0.95);
  const PairFile valid = read_pair_file(scene.options.valid);
  const auto scorer = TransformerPairScorer::open(scene.options.out, {.precision = Precision::f32});
  std::vector<double> logits;
  std::vector<std::uint8_t> positive;
  for (const Pair& pair : valid.pairs) {
    logits.push_back(static_cast<double>(scorer->score_one(pair.q1, pair.q2)));
    positive.push_back(pair.positive() ? 1 : 0);
  }
  CHECK(roc_auc(logits, positive) == Approx(result.best_auc).margin(1e-9));
  const ModelDirectory written = ModelDirectory::open(scene.options.out);
  CHECK(written.extras().lambda == Approx(result.lambda));
  CHECK(is_sequence_classifier(written));
}

TEST_CASE("training of a pair scorer repeats, resumes, and goes on from one") {
  PairScene whole, cut;
  whole.options.epochs = cut.options.epochs = 3;
  train::train(whole.options);
  int steps = 0;
  TrainCallbacks callbacks;
  callbacks.stop = [&] { return ++steps > 40; };  // in the middle of the second epoch
  CHECK(train::train(cut.options, callbacks).interrupted);
  cut.options.resume = true;
  const TrainResult once = train::train(cut.options);
  CHECK(cut.weights() == whole.weights());

  PairScene next;
  next.options.model = whole.options.out;
  next.options.epochs = 1;
  CHECK(train::train(next.options).start_auc == Approx(once.best_auc).margin(1e-9));
}

TEST_CASE("what a pair scorer cannot be trained with is refused by name") {
  PairScene scene;
  const auto refused = [&](const char* name, auto&& set) {
    TrainOptions options = scene.options;
    set(options);
    test::require_error(ErrorCode::usage, {name}, [&] { train::train(options); });
  };
  refused("loss", [](TrainOptions& o) { o.loss = "contrastive"; });
  refused("guard", [&](TrainOptions& o) { o.guards = {scene.options.valid}; });
  refused("guard", [](TrainOptions& o) { o.blends = 2; });
  refused("preserve", [](TrainOptions& o) { o.preserve = 1; });
  refused("head", [](TrainOptions& o) { o.head = Head::learned; });
  refused("max_tokens", [](TrainOptions& o) { o.max_tokens = 3; });
}
