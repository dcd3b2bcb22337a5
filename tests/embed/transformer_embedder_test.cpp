#include "promptcache/embed/transformer_embedder.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "embed/matrix_product.hpp"
#include "golden.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/model/encoder_weights.hpp"
#include "promptcache/model/model_directory.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

// The thread sanitizer does not see the barriers inside libgomp and takes them for races.
#ifdef __SANITIZE_THREAD__
constexpr std::size_t several_threads = 1;
#else
constexpr std::size_t several_threads = 2;
#endif

// What tests/golden/make_embeddings.py wrote.
struct Golden {
  std::vector<std::string> texts;
  std::vector<bool> truncated;
  std::vector<std::vector<double>> embeddings;

  explicit Golden(const std::string& name) {
    const nlohmann::json json = test::golden_json(name);
    json.at("texts").get_to(texts);
    json.at("truncated").get_to(truncated);
    json.at("embeddings").get_to(embeddings);
  }
};

std::vector<std::string_view> views_of(const std::vector<std::string>& texts) { return {texts.begin(), texts.end()}; }

// Cosine with a vector of any length; ours must have length one.
double cosine(const float* ours, const std::vector<double>& theirs) {
  double dot = 0, our_square = 0, their_square = 0;
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    dot += ours[i] * theirs[i];
    our_square += static_cast<double>(ours[i]) * ours[i];
    their_square += theirs[i] * theirs[i];
  }
  CHECK(our_square == Approx(1).margin(1e-5));
  return dot / std::sqrt(our_square * their_square);
}

void require_golden(const std::string& model, const std::string& golden_name, EmbedderOptions options = {}) {
  options.precision = Precision::f32;
  const auto embedder = TransformerEmbedder::open(model, options);
  const Golden golden(golden_name);
  REQUIRE(golden.texts.size() >= 200);
  const std::size_t width = embedder->dimension();
  REQUIRE(golden.embeddings.at(0).size() == width);

  // In mixed order, all in one call.
  std::vector<std::size_t> order(golden.texts.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::vector<std::string_view> mixed;
  for (const std::size_t i : order) mixed.push_back(golden.texts[i]);
  std::vector<float> batch(mixed.size() * width);
  const EmbedReport report = embedder->embed(mixed, batch);
  const std::set<std::size_t> truncated(report.truncated.begin(), report.truncated.end());
  for (std::size_t i = 0; i < order.size(); ++i) {
    CAPTURE(order[i], golden.texts[order[i]].substr(0, 80));
    CHECK(cosine(batch.data() + i * width, golden.embeddings[order[i]]) >= 0.99999);
    CHECK(truncated.contains(i) == golden.truncated[order[i]]);

    const std::vector<float> alone = embedder->embed_one(mixed[i]);
    double farthest = 0;
    for (std::size_t j = 0; j < width; ++j) {
      farthest = std::max(farthest, std::abs(static_cast<double>(alone[j]) - batch[i * width + j]));
    }
    CHECK(farthest < 2e-6);
  }
}

}  // namespace

TEST_CASE("a tiny BERT with CLS pooling, a default prompt and no normalisation") {
  require_golden(test::data_file("tiny_bert"), "tiny_bert_embeddings.json.gz");
}

TEST_CASE("a tiny XLM-RoBERTa with mean pooling") {
  require_golden(test::data_file("tiny_xlmr"), "tiny_xlmr_embeddings.json.gz");
}

TEST_CASE("a prompt by name stands in front of the text") {
  const std::string model = test::data_file("tiny_xlmr");
  const auto plain = TransformerEmbedder::open(model);
  const auto query = TransformerEmbedder::open(model, {.prompt_name = "query"});
  CHECK(query->embed_one("reset password") == plain->embed_one("query: reset password"));
  CHECK(query->embed_one("reset password") != plain->embed_one("reset password"));
  CHECK(query->identity() != plain->identity());
}

TEST_CASE("the real MiniLM gives the vectors of sentence-transformers") {
  PROMPTCACHE_REQUIRE_MINILM();
  require_golden(test::minilm_directory(), "minilm_embeddings.json.gz");
}

TEST_CASE("the real MiniLM runs in int8 by itself, near the vectors of sentence-transformers") {
  PROMPTCACHE_REQUIRE_MINILM();
  const auto embedder = TransformerEmbedder::open(test::minilm_directory());
  CHECK(embedder->precision() == Precision::int8);
  const auto f32 = TransformerEmbedder::open(test::minilm_directory(), {.precision = Precision::f32});
  CHECK(f32->precision() == Precision::f32);
  CHECK(f32->identity() == embedder->identity());
  const Golden golden("minilm_embeddings.json.gz");
  const std::vector<std::string_view> texts = views_of(golden.texts);
  std::vector<float> vectors(texts.size() * embedder->dimension());
  embedder->embed(texts, vectors);
  double sum = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const double each = cosine(vectors.data() + i * embedder->dimension(), golden.embeddings[i]);
    CAPTURE(texts[i].substr(0, 80));
    CHECK(each >= 0.98);
    sum += each;
    const std::vector<float> alone = embedder->embed_one(texts[i]);
    CHECK(std::equal(alone.begin(), alone.end(), vectors.data() + i * alone.size(),
                     [](float a, float b) { return std::abs(a - b) < 2e-6F; }));
  }
  CHECK(sum / static_cast<double>(texts.size()) >= 0.995);
}

TEST_CASE("a model that int8 cannot bear runs in f32 by itself") {
  const std::string model = test::data_file("tiny_bert");
  const test::TemporaryDirectory copy;
  std::filesystem::copy(model, copy.path(), std::filesystem::copy_options::recursive);
  const ModelDirectory directory = ModelDirectory::open(model);
  EncoderWeights weights = load_encoder_weights(directory);
  const std::size_t width = directory.encoder().hidden_size;
  const std::size_t inner = directory.encoder().intermediate_size;
  for (EncoderLayerWeights& layer : weights.layers) {  // one weight of each output beside which all others round to 0
    for (std::size_t output = 0; output < width; ++output) layer.output_weight[output * inner] = 1e4F;
    for (std::size_t input = 0; input < width; ++input) layer.intermediate_weight[input] = 1e-6F;
    layer.intermediate_bias[0] = 0;
  }
  write_encoder_weights(copy.file("model.safetensors"), directory, weights);
  CHECK(TransformerEmbedder::open(copy.path())->precision() == Precision::f32);
  CHECK(TransformerEmbedder::open(copy.path(), {.precision = Precision::int8})->precision() == Precision::int8);
}

TEST_CASE("what opening found out is remembered beside the weights, while they are the same file") {
  const test::TemporaryDirectory copy;
  std::filesystem::copy(test::data_file("tiny_bert"), copy.path(), std::filesystem::copy_options::recursive);
  std::filesystem::remove(copy.file("promptcache-notes.json"));
  const std::string weights = copy.file("model.safetensors");
  const std::string notes = copy.file("promptcache-notes.json");
  const auto open = [&] { return TransformerEmbedder::open(copy.path()); };
  const auto make_older = [&] {
    std::filesystem::last_write_time(weights, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  };
  std::filesystem::last_write_time(weights, std::filesystem::file_time_type::clock::now());
  const Digest identity = open()->identity();
  CHECK_FALSE(std::filesystem::exists(notes));  // so young a file may change without a sign
  make_older();
  const Precision precision = open()->precision();
  nlohmann::json noted = nlohmann::json::parse(read_file(notes));
  CHECK(noted["sha256"] == sha256_file(weights).hex());
  REQUIRE_FALSE(noted["agreements"].empty());
  CHECK(open()->identity() == identity);

  SECTION("and used") {
    noted["sha256"] = sha256("another").hex();
    for (auto& cosine : noted["agreements"]) cosine = precision == Precision::int8 ? 0.5 : 1.0;
    copy.write("promptcache-notes.json", noted.dump());
    CHECK(open()->identity() != identity);
    CHECK(open()->precision() != precision);
    CHECK(TransformerEmbedder::open(copy.path(), {.precision = precision})->precision() == precision);
  }
  SECTION("but not of another file") {
    noted["sha256"] = sha256("another").hex();
    copy.write("promptcache-notes.json", noted.dump());
    std::filesystem::last_write_time(weights, std::filesystem::file_time_type::clock::now() - std::chrono::hours(2));
    CHECK(open()->identity() == identity);
    CHECK(nlohmann::json::parse(read_file(notes))["sha256"] == sha256_file(weights).hex());
  }
  SECTION("nor when damaged") {
    for (const char* damaged : {"", "{", "[]", "{\"size\": \"x\"}", "\xff"}) {
      copy.write("promptcache-notes.json", damaged);
      CHECK(open()->identity() == identity);
      CHECK(nlohmann::json::parse(read_file(notes))["sha256"] == sha256_file(weights).hex());
    }
  }
  SECTION("and a place that cannot be written does no harm") {
    std::filesystem::remove(notes);
    std::filesystem::create_directory(notes);
    CHECK(open()->identity() == identity);
    CHECK(open()->precision() == precision);
  }
}

TEST_CASE("packed weights of int8 are kept beside the model, and mapped while they are whole and its own") {
  const test::TemporaryDirectory copy;
  std::filesystem::copy(test::data_file("tiny_bert"), copy.path(), std::filesystem::copy_options::recursive);
  std::filesystem::last_write_time(copy.file("model.safetensors"),
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  const std::string name = "promptcache-int8-" + std::string(active_isa()) + ".bin";
  const std::string packed = copy.file(name);
  std::filesystem::remove(packed);
  const auto vector_of = [&](Precision precision) {
    return TransformerEmbedder::open(copy.path(), {.precision = precision})->embed_one("How do I reset it?");
  };
  const std::vector<float> f32 = vector_of(Precision::f32);
  CHECK_FALSE(std::filesystem::exists(packed));
  const std::vector<float> wanted = vector_of(Precision::int8);
  REQUIRE(std::filesystem::exists(packed));
  const std::string whole = read_file(packed);
  constexpr std::size_t magic = 29, key = 32, digest = 32, header = 4096;

  SECTION("the same vector from the mapping") { CHECK(vector_of(Precision::int8) == wanted); }
  SECTION("which is used") {
    std::string other = whole;
    for (std::size_t i = 0; i < 16; ++i) other[header + 4 * i + 3] ^= '\x80';  // of the first position's vector
    other.replace(magic + key, digest, sha256(std::string_view(other).substr(header)).view());
    copy.write(name, other);
    CHECK(vector_of(Precision::int8) != wanted);
  }
  SECTION("damaged, cut off, foreign or empty it is made anew") {
    std::string flipped = whole, foreign = whole, old = whole;
    flipped[header + flipped.size() / 2] ^= 1;
    foreign[magic] ^= 1;
    old[magic - 2] = '0';
    for (const std::string& bad : {flipped, foreign, old, whole.substr(0, whole.size() - 64), whole + "more",
                                   whole.substr(0, 100), whole.substr(0, header), std::string()}) {
      copy.write(name, bad);
      CHECK(vector_of(Precision::int8) == wanted);
      CHECK(read_file(packed) == whole);
    }
  }
  SECTION("where it cannot be written, nothing is lost") {
    std::filesystem::remove(packed);
    std::filesystem::create_directory(packed);
    CHECK(vector_of(Precision::int8) == wanted);
  }
  SECTION("many that open at once") {
    std::filesystem::remove(packed);
    std::vector<std::vector<float>> vectors(8);
    std::vector<std::thread> threads;
    for (auto& vector : vectors) threads.emplace_back([&] { vector = vector_of(Precision::int8); });
    for (std::thread& thread : threads) thread.join();
    for (const auto& vector : vectors) CHECK(vector == wanted);
    CHECK(read_file(packed) == whole);
    CHECK_FALSE(std::filesystem::exists(packed + ".partial"));
  }
}

TEST_CASE("bf16 runs near f32, or is refused where the processor lacks it") {
  const std::string model = test::data_file("tiny_bert");
  const auto open = [&] { return TransformerEmbedder::open(model, {.precision = Precision::bf16}); };
  if (!embed::has_arithmetic(embed::Arithmetic::bf16)) {
    test::require_error(ErrorCode::unsupported, {"EmbedderOptions.precision", "bf16", "automatic, f32 or int8"}, open);
    return;
  }
  const auto bf16 = open();
  CHECK(bf16->precision() == Precision::bf16);
  const auto f32 = TransformerEmbedder::open(model, {.precision = Precision::f32});
  for (const char* text : {"no", "How do I reset my password?", "SELECT name FROM users WHERE age > 30"}) {
    const std::vector<float> a = bf16->embed_one(text);
    const std::vector<float> b = f32->embed_one(text);
    CHECK(std::inner_product(a.begin(), a.end(), b.begin(), 0.0) >= 0.998);
    CHECK(a != b);
  }
}

TEST_CASE("precisions have names") {
  for (const Precision each : {Precision::automatic, Precision::f32, Precision::bf16, Precision::int8}) {
    CHECK(precision_from(to_string(each), "here") == each);
  }
  test::require_error(ErrorCode::usage, {"here", "'int4'", "automatic, f32, bf16 or int8"},
                      [] { precision_from("int4", "here"); });
}

TEST_CASE("the real MiniLM on several threads a call gives the same vectors") {
  PROMPTCACHE_REQUIRE_MINILM();
  require_golden(test::minilm_directory(), "minilm_embeddings.json.gz", {.threads_per_call = several_threads});
}

TEST_CASE("many callers get the bits that one gets, and their OpenMP setting back") {
  PROMPTCACHE_REQUIRE_MINILM();
  const auto embedder = TransformerEmbedder::open(test::minilm_directory(), {.parallel_callers = 2});
  const Golden golden("minilm_embeddings.json.gz");
  std::vector<std::string_view> texts = views_of(golden.texts);
  texts.resize(40);
  std::vector<float> wanted(texts.size() * embedder->dimension());
  embedder->embed(texts, wanted);
  std::vector<std::vector<float>> results(6, std::vector<float>(wanted.size()));
  std::vector<int> openmp(results.size());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      omp_set_num_threads(static_cast<int>(t) + 2);
      embedder->embed(texts, results[t]);
      openmp[t] = omp_get_max_threads();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t t = 0; t < results.size(); ++t) {
    CHECK(results[t] == wanted);
    CHECK(openmp[t] == static_cast<int>(t) + 2);
  }
}

TEST_CASE("an embed call of no texts, and one with output of the wrong size") {
  PROMPTCACHE_REQUIRE_MINILM();
  const auto embedder = TransformerEmbedder::open(test::minilm_directory());
  const EmbedReport report = embedder->embed({}, {});
  CHECK(report.tokens == 0);
  CHECK(report.truncated.empty());
  std::vector<float> out(embedder->dimension() + 1);
  const std::string_view text = "hello";
  test::require_error(ErrorCode::usage, {"floats of output", "1 x " + std::to_string(embedder->dimension())}, [&] {
    embedder->embed({&text, 1}, out);
  });
}

TEST_CASE("truncation and texts of unknown tokens are reported by position") {
  PROMPTCACHE_REQUIRE_MINILM();
  const auto embedder = TransformerEmbedder::open(test::minilm_directory(), {.max_tokens = 8});
  CHECK(embedder->max_tokens() == 8);
  const std::vector<std::string> texts = {
      "one two three four five six", "one two three four five six seven", "", "\u2603\u2603", "\u200b", "known \u2603"};
  std::vector<float> out(texts.size() * embedder->dimension());
  const EmbedReport report = embedder->embed(views_of(texts), out);
  CHECK(report.truncated == std::vector<std::size_t>{1});
  CHECK(report.unrepresented == std::vector<std::size_t>{3, 4});
  CHECK(report.tokens == 8 + 8 + 2 + 3 + 2 + 4);
}

TEST_CASE("options out of range are refused by name") {
  PROMPTCACHE_REQUIRE_MINILM();
  const std::string model = test::minilm_directory();
  test::require_error(ErrorCode::usage, {"max_tokens", "found 2,"},
                      [&] { TransformerEmbedder::open(model, {.max_tokens = 2}); });
  test::require_error(ErrorCode::usage, {"max_tokens", "100000"},
                      [&] { TransformerEmbedder::open(model, {.max_tokens = 100000}); });
  test::require_error(ErrorCode::usage, {"threads_per_call", "found 0,"},
                      [&] { TransformerEmbedder::open(model, {.threads_per_call = 0}); });
  test::require_error(ErrorCode::usage, {"parallel_callers"},
                      [&] { TransformerEmbedder::open(model, {.parallel_callers = 1000000}); });
  test::require_error(ErrorCode::not_found, {"prompt name 'nonsense'"},
                      [&] { TransformerEmbedder::open(model, {.prompt_name = "nonsense"}); });
  test::require_error(ErrorCode::not_found, {"/nowhere"}, [] { TransformerEmbedder::open("/nowhere"); });
}

TEST_CASE("the identity follows what decides a vector, and nothing else") {
  PROMPTCACHE_REQUIRE_MINILM();
  const std::string model = test::minilm_directory();
  const Digest identity = TransformerEmbedder::open(model)->identity();
  CHECK(TransformerEmbedder::open(model, {.parallel_callers = 3, .threads_per_call = several_threads})->identity() ==
        identity);
  CHECK(TransformerEmbedder::open(model, {.max_tokens = 16})->identity() != identity);

  const test::TemporaryDirectory copy;
  std::filesystem::copy(model, copy.path(), std::filesystem::copy_options::recursive);
  CHECK(TransformerEmbedder::open(copy.path())->identity() == identity);
  std::string weights = read_file(copy.file("model.safetensors"));
  weights[weights.size() - 4] = static_cast<char>(weights[weights.size() - 4] ^ 1);
  copy.write("model.safetensors", weights);
  CHECK(TransformerEmbedder::open(copy.path())->identity() != identity);
  // A NaN (all ones) in the word embeddings, which lie behind the header.
  std::uint64_t header = 0;
  std::memcpy(&header, weights.data(), sizeof(header));
  const std::size_t word_embeddings = sizeof(header) + header + 1'000'000;
  for (std::size_t i = 0; i < 4; ++i) weights[word_embeddings + i] = '\xff';
  copy.write("model.safetensors", weights);
  test::require_error(ErrorCode::numeric, {"model.safetensors"}, [&] { TransformerEmbedder::open(copy.path()); });
}
