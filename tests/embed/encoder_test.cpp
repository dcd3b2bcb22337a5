#include "embed/encoder.hpp"

#include <omp.h>

#include <array>
#include <cmath>
#include <random>
#include <thread>

#include "allocations.hpp"
#include "embed/byte_product.hpp"
#include "embed/openmp_threads.hpp"
#include "embed/weight_codes.hpp"
#include "promptcache/model/encoder_weights.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using Ids = std::vector<std::int32_t>;
using Matrix = std::vector<std::vector<double>>;

// The thread sanitizer does not see the barriers inside libgomp and takes them for races.
#ifdef __SANITIZE_THREAD__
constexpr int several_threads = 1;
#else
constexpr int several_threads = 2;
#endif

EncoderConfig small_config(std::size_t heads, std::size_t head_size, std::size_t intermediate) {
  EncoderConfig config;
  config.hidden_size = heads * head_size;
  config.layers = 2;
  config.heads = heads;
  config.intermediate_size = intermediate;
  config.vocabulary_size = 50;
  config.position_rows = 300;
  config.type_vocabulary_size = 2;
  return config;
}

EncoderWeights random_weights(const EncoderConfig& config, unsigned seed) {
  std::mt19937 engine(seed);
  const auto random = [&](std::size_t count, float spread, float middle = 0) {
    std::normal_distribution<float> distribution(middle, spread);
    std::vector<float> values(count);
    for (float& value : values) value = distribution(engine);
    return values;
  };
  const std::size_t width = config.hidden_size, inner = config.intermediate_size;
  const float spread = 1.5F / std::sqrt(static_cast<float>(width));
  EncoderWeights weights;
  weights.word_embeddings = random(config.vocabulary_size * width, 1);
  weights.position_embeddings = random(config.position_rows * width, 0.5F);
  weights.token_type_embeddings = random(config.type_vocabulary_size * width, 0.5F);
  weights.embedding_norm_weight = random(width, 0.1F, 1);
  weights.embedding_norm_bias = random(width, 0.1F);
  for (std::size_t i = 0; i < config.layers; ++i) {
    EncoderLayerWeights& layer = weights.layers.emplace_back();
    for (auto* matrix : {&layer.query_weight, &layer.key_weight, &layer.value_weight, &layer.attention_output_weight}) {
      *matrix = random(width * width, spread);
    }
    for (auto* bias : {&layer.query_bias, &layer.key_bias, &layer.value_bias, &layer.attention_output_bias,
                       &layer.output_bias, &layer.attention_norm_bias, &layer.output_norm_bias}) {
      *bias = random(width, 0.3F);
    }
    layer.attention_norm_weight = random(width, 0.1F, 1);
    layer.output_norm_weight = random(width, 0.1F, 1);
    layer.intermediate_weight = random(inner * width, spread);
    layer.intermediate_bias = random(inner, 0.3F);
    layer.output_weight = random(width * inner, spread);
  }
  return weights;
}

// The definition, one token after the other, in double precision.
class Oracle {
 public:
  Oracle(const EncoderConfig& config, const EncoderWeights& weights) : config_(config), weights_(weights) {}

  Matrix run(const Ids& ids) const {
    const std::size_t width = config_.hidden_size;
    Matrix x;
    std::size_t position = config_.position_offset;
    for (const std::int32_t id : ids) {
      const bool padding = config_.architecture == Architecture::xlm_roberta && id == config_.padding_id;
      const std::size_t row = padding ? static_cast<std::size_t>(config_.padding_id) : position++;
      std::vector<double> values(width);
      for (std::size_t i = 0; i < width; ++i) {
        values[i] = static_cast<double>(weights_.word_embeddings[static_cast<std::size_t>(id) * width + i]) +
                    weights_.position_embeddings[row * width + i] + weights_.token_type_embeddings[i];
      }
      x.push_back(norm(values, weights_.embedding_norm_weight, weights_.embedding_norm_bias));
    }
    for (const EncoderLayerWeights& layer : weights_.layers) x = run_layer(x, layer);
    return x;
  }

 private:
  static Matrix linear(const Matrix& x, const std::vector<float>& weight, const std::vector<float>& bias) {
    Matrix y(x.size(), std::vector<double>(bias.begin(), bias.end()));
    const std::size_t in = x[0].size();
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t o = 0; o < bias.size(); ++o) {
        for (std::size_t i = 0; i < in; ++i) y[t][o] += x[t][i] * weight[o * in + i];
      }
    }
    return y;
  }

  std::vector<double> norm(const std::vector<double>& x, const std::vector<float>& scale,
                           const std::vector<float>& shift) const {
    double mean = 0, variance = 0;
    for (const double v : x) mean += v / static_cast<double>(x.size());
    for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
    std::vector<double> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i] = (x[i] - mean) / std::sqrt(variance + static_cast<double>(config_.layer_norm_eps)) * scale[i] + shift[i];
    }
    return y;
  }

  double activate(double x) const {
    if (config_.activation == Activation::relu) return std::max(x, 0.0);
    if (config_.activation == Activation::gelu_tanh) {
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    }
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  }

  Matrix run_layer(const Matrix& x, const EncoderLayerWeights& layer) const {
    const std::size_t head_size = config_.head_size();
    const Matrix q = linear(x, layer.query_weight, layer.query_bias);
    const Matrix k = linear(x, layer.key_weight, layer.key_bias);
    const Matrix v = linear(x, layer.value_weight, layer.value_bias);
    Matrix context(x.size(), std::vector<double>(config_.hidden_size));
    for (std::size_t head = 0; head < config_.heads; ++head) {
      for (std::size_t t = 0; t < x.size(); ++t) {
        std::vector<double> share(x.size());
        double sum = 0;
        for (std::size_t s = 0; s < x.size(); ++s) {
          double score = 0;
          for (std::size_t c = head * head_size; c < (head + 1) * head_size; ++c) score += q[t][c] * k[s][c];
          sum += share[s] = std::exp(score / std::sqrt(static_cast<double>(head_size)));
        }
        for (std::size_t s = 0; s < x.size(); ++s) {
          for (std::size_t c = head * head_size; c < (head + 1) * head_size; ++c)
            context[t][c] += share[s] / sum * v[s][c];
        }
      }
    }
    Matrix y = linear(context, layer.attention_output_weight, layer.attention_output_bias);
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t i = 0; i < y[t].size(); ++i) y[t][i] += x[t][i];
      y[t] = norm(y[t], layer.attention_norm_weight, layer.attention_norm_bias);
    }
    Matrix inner = linear(y, layer.intermediate_weight, layer.intermediate_bias);
    for (auto& row : inner) {
      for (double& value : row) value = activate(value);
    }
    Matrix z = linear(inner, layer.output_weight, layer.output_bias);
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t i = 0; i < z[t].size(); ++i) z[t][i] += y[t][i];
      z[t] = norm(z[t], layer.output_norm_weight, layer.output_norm_bias);
    }
    return z;
  }

  EncoderConfig config_;
  const EncoderWeights& weights_;
};

Ids random_ids(std::size_t count, std::mt19937& engine) {
  Ids ids(count);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(engine() % 50);
  return ids;
}

/// Runs texts of these lengths and calls `visit(hidden, wanted)` for the hidden state of each of their tokens.
template <class Visit>
void run_beside_oracle(const EncoderConfig& config, const std::vector<std::size_t>& lengths,
                       embed::Arithmetic arithmetic, int threads, Visit visit) {
  const EncoderWeights weights = random_weights(config, 1);
  const Oracle oracle(config, weights);
  const embed::Encoder encoder(config, EncoderWeights(weights), arithmetic, threads);
  embed::Workspace workspace;
  std::mt19937 engine(2);
  std::vector<Ids> texts;
  for (const std::size_t length : lengths) texts.push_back(random_ids(length, engine));
  const std::vector<embed::Sequence> sequences(texts.begin(), texts.end());
  encoder.run(sequences, workspace);
  const float* hidden = workspace.hidden();
  for (const Ids& ids : texts) {
    for (const std::vector<double>& wanted : oracle.run(ids)) {
      visit(hidden, wanted);
      hidden += wanted.size();
    }
  }
}

void require_equal_to_oracle(const EncoderConfig& config, const std::vector<std::size_t>& lengths, int threads) {
  const auto compare = [](const float* hidden, const std::vector<double>& wanted) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (!(std::abs(hidden[i] - wanted[i]) < 5e-5)) {
        CAPTURE(i, hidden[i], wanted[i]);
        FAIL("too far from the oracle");
      }
    }
  };
  run_beside_oracle(config, lengths, embed::Arithmetic::f32, threads, compare);
}

/// Lowest cosine of a token's hidden state with that of the definition.
double lowest_cosine(const EncoderConfig& config, const std::vector<std::size_t>& lengths, embed::Arithmetic arithmetic,
                     int threads) {
  double lowest = 1;
  const auto compare = [&](const float* hidden, const std::vector<double>& wanted) {
    double dot = 0, ours = 0, theirs = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      dot += wanted[i] * hidden[i];
      ours += static_cast<double>(hidden[i]) * hidden[i];
      theirs += wanted[i] * wanted[i];
    }
    lowest = std::min(lowest, dot / std::sqrt(ours * theirs));
  };
  run_beside_oracle(config, lengths, arithmetic, threads, compare);
  return lowest;
}

}  // namespace

TEST_CASE("in int8 and bf16 the encoder comes near its definition") {
  for (const auto& [arithmetic, least] :
       {std::pair(embed::Arithmetic::int8, 0.998), {embed::Arithmetic::bf16, 0.9995}}) {
    if (!embed::has_arithmetic(arithmetic)) continue;
    const auto lowest = [&, a = arithmetic](const EncoderConfig& config, const std::vector<std::size_t>& lengths,
                                            int threads) { return lowest_cosine(config, lengths, a, threads); };
    CAPTURE(static_cast<int>(arithmetic));
    EncoderConfig config = small_config(4, 16, 128);
    CHECK(lowest(config, {5, 1, 9, 3, 17}, 1) >= least);
    CHECK(lowest(config, {131, 2, 7}, 1) >= least);  // more tokens than one product takes
    CHECK(lowest(config, {20, 3, 140}, several_threads) >= least);
    CHECK(lowest(config, {1}, several_threads) >= least);                   // fewer tokens than threads
    CHECK(lowest(small_config(3, 15, 117), {5, 1, 9, 3, 17}, 1) >= least);  // widths that fill no vector
    config.activation = Activation::gelu_tanh;
    CHECK(lowest(config, {7, 4}, 1) >= least);
    config.activation = Activation::relu;
    CHECK(lowest(config, {7, 4}, 1) >= least);
  }
}

TEST_CASE("a product of bytes is exact at the largest weights and activations") {
  for (const std::size_t in : {std::size_t{16}, std::size_t{37}, std::size_t{384}, std::size_t{1536}}) {
    const std::size_t out = 45;
    std::mt19937 engine(4);
    const int most = embed::largest_int8_group();
    std::vector<std::int8_t> weights(in * out);
    // As large as they may be: all of a group of one sign, or of both.
    const auto fill_group = [&](std::size_t output, std::array<std::size_t, 4> inputs) {
      int above = most, below = most;
      const bool both = output % 3 == 0;
      for (const std::size_t input : inputs) {
        if (input >= in) continue;
        int& left = (both ? engine() : output) % 2 == 0 ? above : below;
        const int size = std::min({127, left, output % 5 == 0 ? 127 : static_cast<int>(engine() % 128)});
        left -= size;
        weights[output * in + input] = static_cast<std::int8_t>(&left == &above ? size : -size);
      }
    };
    for (std::size_t o = 0; o < out; ++o) {
      for (std::size_t i = 0; i < in; i += 8) {
        fill_group(o, {i, i + 1, i + 4, i + 5});
        fill_group(o, {i + 2, i + 3, i + 6, i + 7});
      }
    }
    std::vector<std::uint8_t> x(embed::MatrixProduct::max_rows * in + embed::MatrixProduct::readable_beyond, 255);
    for (std::size_t i = x.size() / 2; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(engine());
    const embed::OpenMpThreads inside(1);
    const embed::MatrixProduct product(in, out, embed::Arithmetic::int8);
    dnnl::stream stream(embed::cpu_engine());
    dnnl::memory scratch;
    const auto memory = hwy::AllocateAligned<std::int8_t>(product.packed_size());
    product.pack(weights, memory.get());
    const std::vector<float> bias(out, 1);  // which a product of bytes leaves to others
    const embed::PackedWeights packed{memory.get(), bias.data()};
    for (std::size_t rows = 1; rows <= embed::MatrixProduct::max_rows; ++rows) {
      std::vector<std::int32_t> y(rows * out, -1);
      product.run(x.data(), rows, packed, y.data(), stream, scratch);
      std::size_t wrong = 0;
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; ++o) {
          std::int32_t wanted = 0;
          for (std::size_t i = 0; i < in; ++i) wanted += x[r * in + i] * weights[o * in + i];
          if (y[r * out + o] != wanted) ++wrong;
        }
      }
      CAPTURE(in, rows, product.kernel(rows));
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("the encoder equals its definition in double precision") {
  EncoderConfig config = small_config(4, 8, 64);
  SECTION("one token") { require_equal_to_oracle(config, {1}, 1); }
  SECTION("texts of one call do not see each other") { require_equal_to_oracle(config, {5, 1, 9, 3, 17}, 1); }
  SECTION("more tokens than one product takes") { require_equal_to_oracle(config, {131, 2, 7}, 1); }
  SECTION("several threads inside") { require_equal_to_oracle(config, {20, 3, 140}, several_threads); }
  SECTION("widths that fill no vector") {
    config = small_config(3, 5, 37);
    require_equal_to_oracle(config, {5, 1, 9, 3, 17}, 1);
  }
  SECTION("tanh GELU") {
    config.activation = Activation::gelu_tanh;
    require_equal_to_oracle(config, {7, 4}, 1);
  }
  SECTION("ReLU") {
    config.activation = Activation::relu;
    require_equal_to_oracle(config, {7, 4}, 1);
  }
  SECTION("XLM-RoBERTa's positions, padding tokens inside the text included") {
    config.architecture = Architecture::xlm_roberta;
    config.padding_id = 1;
    config.position_offset = 2;
    require_equal_to_oracle(config, {40, 9, 120}, 1);
  }
}

TEST_CASE("a call leaves the OpenMP setting of its caller as it was") {
  const EncoderConfig config = small_config(4, 8, 64);
  const embed::Encoder encoder(config, random_weights(config, 1), embed::Arithmetic::f32, several_threads);
  embed::Workspace workspace;
  const int before = omp_get_max_threads();
  omp_set_num_threads(3);
  {
    const embed::OpenMpThreads inside(1);
    CHECK(omp_get_max_threads() == 1);
  }
  CHECK(omp_get_max_threads() == 3);
  const Ids ids = {1, 2, 3};
  const embed::Sequence sequence(ids);
  encoder.run({&sequence, 1}, workspace);
  CHECK(omp_get_max_threads() == 3);
  const embed::Encoder another(config, random_weights(config, 1), embed::Arithmetic::f32, 1);
  CHECK(omp_get_max_threads() == 3);
  omp_set_num_threads(before);
}

TEST_CASE("many threads get the bits that one gets") {
  const EncoderConfig config = small_config(4, 8, 64);
  const embed::Encoder encoder(config, random_weights(config, 1), embed::Arithmetic::f32, 1);
  std::mt19937 engine(3);
  std::vector<Ids> texts;
  for (std::size_t i = 1; i <= 24; ++i) texts.push_back(random_ids(i * 3, engine));
  const auto run_all = [&](const embed::Encoder& used) {
    embed::Workspace workspace;
    std::vector<float> result;
    for (const Ids& ids : texts) {
      const embed::Sequence sequence(ids);
      used.run({&sequence, 1}, workspace);
      result.insert(result.end(), workspace.hidden(), workspace.hidden() + ids.size() * config.hidden_size);
    }
    return result;
  };
  // Fresh encoder: the threads meet while the kernels are being made.
  std::vector<std::vector<float>> results(6);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = run_all(encoder); });
  for (std::thread& thread : threads) thread.join();
  const embed::Encoder alone(config, random_weights(config, 1), embed::Arithmetic::f32, 1);
  const std::vector<float> wanted = run_all(alone);
  for (const auto& result : results) CHECK(result == wanted);
}

TEST_CASE("an encoder that has run takes no more memory where bytes are multiplied by our kernel") {
  if (!embed::byte_product_wanted()) return;  // oneDNN takes some
  const EncoderConfig config = small_config(4, 16, 128);
  const embed::Encoder encoder(config, random_weights(config, 1), embed::Arithmetic::int8, 1);
  embed::Workspace workspace;
  std::mt19937 engine(5);
  const Ids ids = random_ids(100, engine);
  const std::array<embed::Sequence, 2> sequences = {embed::Sequence(ids), embed::Sequence(ids).first(7)};
  encoder.run(sequences, workspace);
  const std::size_t before = test::allocations();
  for (std::size_t length = 1; length <= ids.size(); ++length) {
    const embed::Sequence sequence = embed::Sequence(ids).first(length);
    encoder.run({&sequence, 1}, workspace);
  }
  encoder.run(sequences, workspace);
  CHECK(test::allocations() == before);
}

TEST_CASE("a product keeps one packed layout for every number of rows") {
  for (const std::size_t in : {std::size_t{16}, std::size_t{37}, std::size_t{384}}) {
    const std::size_t out = 48;
    std::mt19937 engine(4);
    std::normal_distribution<float> distribution;
    std::vector<float> weights(in * out), bias(out), x(embed::MatrixProduct::max_rows * in);
    for (auto* values : {&weights, &bias, &x}) {
      for (float& value : *values) value = distribution(engine);
    }
    const embed::OpenMpThreads inside(1);
    const embed::MatrixProduct product(in, out, embed::Arithmetic::f32);
    dnnl::stream stream(embed::cpu_engine());
    dnnl::memory scratch;
    const auto memory = hwy::AllocateAligned<std::uint8_t>(product.packed_size());
    product.pack(weights, memory.get());
    const embed::PackedWeights packed{memory.get(), bias.data()};
    for (std::size_t rows = 1; rows <= embed::MatrixProduct::max_rows; ++rows) {
      std::vector<float> y(rows * out, std::nanf(""));
      product.run(x.data(), rows, packed, y.data(), stream, scratch);
      std::size_t wrong = 0;
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t o = 0; o < out; ++o) {
          double wanted = bias[o];
          for (std::size_t i = 0; i < in; ++i) wanted += static_cast<double>(x[r * in + i]) * weights[o * in + i];
          if (!(std::abs(y[r * out + o] - wanted) < 1e-4)) ++wrong;
        }
      }
      CAPTURE(in, rows, product.kernel(rows));
      CHECK(wrong == 0);
    }
  }
}
