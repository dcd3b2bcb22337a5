#include <cmath>
#include <nlohmann/json.hpp>

#include "promptcache/embed/transformer_pair_scorer.hpp"
#include "promptcache/model/encoder_weights.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/pair_head.hpp"
#include "promptcache/text/tokenizer.hpp"
#include "support.hpp"
#include "text/pair_encoding.hpp"
#include "tiny_scorer.hpp"

namespace {

using namespace promptcache;
using test::TinyScorer;

double probability(float logit) { return 1 / (1 + std::exp(-static_cast<double>(logit))); }

void require_golden(const TinyScorer& tiny) {
  const nlohmann::json golden = tiny.golden();
  const auto texts = golden.at("texts").get<std::vector<std::string>>();
  const auto logits = golden.at("logits").get<std::vector<double>>();
  const auto ids = golden.at("ids").get<std::vector<std::vector<std::int32_t>>>();
  const auto scorer = TransformerPairScorer::open(tiny.path(), {.precision = Precision::f32});
  CHECK(scorer->max_tokens() == golden.at("max_tokens").get<std::size_t>());
  const ModelDirectory directory = ModelDirectory::open(tiny.path());
  const auto tokenizer = open_tokenizer(directory);
  REQUIRE(logits.size() == texts.size() * texts.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::string& first = texts[i / texts.size()];
    const std::string& second = texts[i % texts.size()];
    INFO("'" << first << "' and '" << second << "'");
    CHECK(text::encode_pair(*tokenizer, directory.encoder().architecture, first, second, scorer->max_tokens()).ids ==
          ids[i]);
    CHECK(static_cast<double>(scorer->score_in_order(first, second)) == Approx(logits[i]).margin(2e-5));
  }
}

}  // namespace

TEST_CASE("pair scores equal those of sentence-transformers' CrossEncoder for a tiny BERT") {
  require_golden(TinyScorer("tiny_bert"));
}

TEST_CASE("pair scores equal those of sentence-transformers' CrossEncoder for a tiny XLM-RoBERTa") {
  require_golden(TinyScorer("tiny_xlmr"));
}

TEST_CASE("the score of a pair does not hang on its order nor on what stands beside it") {
  const TinyScorer tiny("tiny_bert");
  const auto scorer = TransformerPairScorer::open(tiny.path(), {.precision = Precision::f32});
  const auto texts = tiny.golden().at("texts").get<std::vector<std::string>>();
  std::vector<TextPair> pairs;
  for (const std::string& first : texts) {
    for (const std::string& second : texts) pairs.push_back({first, second});
  }
  std::vector<float> logits(pairs.size());
  const PairReport report = scorer->score(pairs, logits);
  CHECK(report.tokens > pairs.size() * 5);
  CHECK(!report.truncated.empty());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    CHECK(scorer->score_one(pairs[i].second, pairs[i].first) == Approx(logits[i]).margin(1e-5));
  }
  CHECK(scorer->score_one(texts[0], texts[5]) != Approx(scorer->score_one(texts[0], texts[1])).margin(1e-4));
}

TEST_CASE("a pair scorer in int8 gives nearly the probabilities of f32") {
  for (const char* encoder : {"tiny_bert", "tiny_xlmr"}) {
    const TinyScorer tiny(encoder);
    const auto f32 = TransformerPairScorer::open(tiny.path(), {.precision = Precision::f32});
    const auto int8 = TransformerPairScorer::open(tiny.path(), {.precision = Precision::int8});
    CHECK(f32->identity() == int8->identity());
    const auto texts = tiny.golden().at("texts").get<std::vector<std::string>>();
    for (const std::string& first : texts) {
      for (const std::string& second : texts) {
        CHECK(std::abs(probability(f32->score_one(first, second)) - probability(int8->score_one(first, second))) <
              0.05);
      }
    }
    CHECK(TransformerPairScorer::open(tiny.path())->precision() == Precision::int8);
  }
}

TEST_CASE("a directory that is no pair scorer is refused by name") {
  test::require_error(ErrorCode::unsupported, {"tiny_bert/config.json", "architecture BertModel", "one output"},
                      [] { TransformerPairScorer::open(test::data_file("tiny_bert")); });
  const TinyScorer tiny("tiny_bert");
  tiny.configure([](nlohmann::json& config) { config["id2label"] = {{"0", "no"}, {"1", "yes"}}; });
  test::require_error(ErrorCode::unsupported, {"config.json", "2 labels"},
                      [&] { TransformerPairScorer::open(tiny.path()); });
  tiny.configure([](nlohmann::json& config) { config.erase("id2label"); });
  test::require_error(ErrorCode::unsupported, {"2 labels"}, [&] { TransformerPairScorer::open(tiny.path()); });
  tiny.configure([](nlohmann::json& config) { config["num_labels"] = 1; });
  CHECK_NOTHROW(TransformerPairScorer::open(tiny.path()));
  tiny.configure([](nlohmann::json& config) { config.erase("architectures"); });
  test::require_error(ErrorCode::unsupported, {"no architecture"}, [&] { TransformerPairScorer::open(tiny.path()); });
  tiny.configure([](nlohmann::json& config) { config["architectures"] = {"BertForSequenceClassification"}; });
  const ModelDirectory encoder = ModelDirectory::open(test::data_file("tiny_bert"));
  EncoderWeights weights = load_encoder_weights(encoder);
  write_encoder_weights(tiny.path() + "/model.safetensors", encoder, weights);
  test::require_error(ErrorCode::not_found, {"model.safetensors", "bert.pooler.dense.weight"},
                      [&] { TransformerPairScorer::open(tiny.path()); });
}

TEST_CASE("options of a pair scorer out of range are refused by name") {
  const TinyScorer tiny("tiny_bert");
  test::require_error(ErrorCode::usage, {"max_tokens", "3", "4 to 64"},
                      [&] { TransformerPairScorer::open(tiny.path(), {.max_tokens = 3}); });
  test::require_error(ErrorCode::usage, {"prompt_name", "'query'"},
                      [&] { TransformerPairScorer::open(tiny.path(), {.prompt_name = "query"}); });
  const auto scorer = TransformerPairScorer::open(tiny.path(), {.max_tokens = 4});
  CHECK(std::isfinite(scorer->score_one("a b c d", "e f g")));
  const TextPair pair{"a", "b"};
  std::vector<float> two(2);
  test::require_error(ErrorCode::usage, {"2 floats", "1"}, [&] { scorer->score({&pair, 1}, two); });
  CHECK(scorer->score({}, {}).tokens == 0);
}

TEST_CASE("a pair scorer that is written is the one that was read") {
  for (const char* encoder : {"tiny_bert", "tiny_xlmr"}) {
    const TinyScorer tiny(encoder);
    const ModelDirectory source = ModelDirectory::open(tiny.path());
    const test::TemporaryDirectory other;
    copy_pair_scorer_files(ModelDirectory::open(test::data_file(encoder)), other.path());
    EncoderWeights weights = load_encoder_weights(source);
    PairHead head = load_pair_head(source);
    write_pair_scorer_weights(other.file("model.safetensors"), source, weights, head);
    const auto before = TransformerPairScorer::open(tiny.path(), {.precision = Precision::f32});
    const auto after = TransformerPairScorer::open(other.path(), {.precision = Precision::f32});
    CHECK(before->score_one("my order", "the train") == after->score_one("my order", "the train"));
  }
}
