#include "train/operations.hpp"

#include <cmath>

#include "promptcache/base/file.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/train/encoder.hpp"
#include "support.hpp"
#include "train/kernels.hpp"
#include "train/sharded_encoder.hpp"

using namespace promptcache;
using namespace promptcache::train;

namespace {

/// Attention of one text after the other in LibTorch's own operations; `keep` is the mask of dropout, empty for none.
torch::Tensor plain_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              const std::vector<std::int64_t>& lengths, std::int64_t heads,
                              const std::vector<torch::Tensor>& keep) {
  std::vector<torch::Tensor> out;
  const std::int64_t size = q.size(1) / heads;
  std::int64_t begin = 0;
  std::size_t number = 0;
  for (const std::int64_t length : lengths) {
    std::vector<torch::Tensor> parts;
    for (std::int64_t head = 0; head < heads; ++head) {
      const auto part = [&](const torch::Tensor& x) {
        return x.slice(0, begin, begin + length).slice(1, head * size, (head + 1) * size);
      };
      torch::Tensor p = torch::softmax(torch::mm(part(q), part(k).t()) / std::sqrt(static_cast<double>(size)), 1);
      if (!keep.empty()) p = p * keep[number++];
      parts.push_back(torch::mm(p, part(v)));
    }
    out.push_back(torch::cat(parts, 1));
    begin += length;
  }
  return torch::cat(out);
}

double farthest(const torch::Tensor& a, const torch::Tensor& b) { return (a - b).abs().max().item<double>(); }

}  // namespace

TEST_CASE("attention and its gradients equal LibTorch's, on every instruction set and head size") {
  torch::manual_seed(1);
  const std::vector<std::int64_t> lengths = {1, 3, 17, 8, 2};
  for (const std::string& isa : available_isas()) {
    const ScopedIsa scope(isa);
    for (const std::int64_t size : {1, 5, 8, 32, 64, 67}) {
      for (const double rate : {0.0, 0.3}) {
        CAPTURE(isa, size, rate);
        constexpr std::int64_t heads = 3;
        constexpr std::uint64_t seed = 9;
        std::vector<torch::Tensor> keep;
        std::uint64_t place = 0;
        for (const std::int64_t n : lengths) {
          for (std::int64_t head = 0; head < heads && rate > 0; ++head) {
            keep.push_back(seeded_dropout(torch::ones({n, n}), rate, seed + place));
            place += static_cast<std::uint64_t>(n * n);
          }
        }
        std::vector<torch::Tensor> leaves;
        for (int i = 0; i < 3; ++i) leaves.push_back(torch::randn({31, heads * size}).requires_grad_(true));
        const torch::Tensor ours = packed_attention(leaves[0], leaves[1], leaves[2], lengths, heads, rate, seed);
        const torch::Tensor wanted = plain_attention(leaves[0], leaves[1], leaves[2], lengths, heads, keep);
        CHECK(farthest(ours, wanted) < 1e-5);
        const torch::Tensor weights = torch::randn_like(wanted);
        const auto a = torch::autograd::grad({ours}, leaves, {weights});
        const auto b = torch::autograd::grad({wanted}, leaves, {weights});
        for (int i = 0; i < 3; ++i)
          CHECK(farthest(a[static_cast<std::size_t>(i)], b[static_cast<std::size_t>(i)]) < 2e-5);
      }
    }
  }
}

TEST_CASE("dropout keeps its rate and its mean, and its gradient has the same mask") {
  const torch::Tensor x = torch::ones({1000, 100}).requires_grad_(true);
  const torch::Tensor y = seeded_dropout(x, 0.1, 5);
  CHECK((y == 0).to(torch::kFloat64).mean().item<double>() == Approx(0.1).margin(0.004));
  CHECK(y.mean().item<double>() == Approx(1).margin(0.005));
  CHECK(torch::equal(torch::autograd::grad({y.sum()}, {x})[0], y));
  CHECK(torch::equal(y, seeded_dropout(x, 0.1, 5)));
  CHECK_FALSE(torch::equal(y, seeded_dropout(x, 0.1, 6)));
  // Neighbouring seeds and rows are unrelated: two masks agree as often as chance says.
  const auto dropped = [&](std::uint64_t seed) { return seeded_dropout(x.detach(), 0.5, seed) == 0; };
  CHECK((dropped(7) == dropped(8)).to(torch::kFloat64).mean().item<double>() == Approx(0.5).margin(0.01));
  const torch::Tensor mask = dropped(7);
  CHECK((mask.slice(0, 1) == mask.slice(0, 0, -1)).to(torch::kFloat64).mean().item<double>() ==
        Approx(0.5).margin(0.01));
}

TEST_CASE("the masks of all instruction sets are the same") {
  const torch::Tensor x = torch::ones({37});
  torch::Tensor first;
  for (const std::string& isa : available_isas()) {
    const ScopedIsa scope(isa);
    const torch::Tensor y = seeded_dropout(x, 0.4, 77);
    if (!first.defined()) first = y;
    CHECK(torch::equal(first, y));
  }
}

TEST_CASE("sharded training gives the gradients of LibTorch's own operations on the whole batch") {
  // Without dropout, whose masks differ by construction.
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("model");
  std::filesystem::copy(test::data_file("tiny_bert"), path, std::filesystem::copy_options::recursive);
  std::string config = read_file(path + "/config.json");
  for (const char* name : {"\"hidden_dropout_prob\": ", "\"attention_probs_dropout_prob\": "}) {
    const std::size_t at = config.find(name) + std::string(name).size();
    config.replace(at, config.find_first_of(",\n}", at) - at, "0.0");
  }
  directory.write("model/config.json", config);
  const ModelDirectory model = ModelDirectory::open(path);
  Encoder encoder(model, load_encoder_weights(model), torch::kCPU);
  const std::vector<std::vector<std::int32_t>> ids = {
      {2, 7, 9, 3}, {2, 5, 3}, {2, 9, 9, 9, 8, 3}, {2, 3}, {2, 6, 7, 8, 3}};
  std::vector<TokenSequence> sequences;
  for (const auto& sequence : ids) sequences.push_back({sequence});

  ForwardOptions reference;
  reference.reference = true;
  const torch::Tensor wanted = encoder.forward(pack(sequences, model.encoder(), torch::kCPU), reference);
  const torch::Tensor weights = torch::randn_like(wanted);
  const auto gradients = torch::autograd::grad({wanted}, encoder.parameters(), {weights});
  double square = 0;
  for (const torch::Tensor& gradient : gradients) square += std::pow(gradient.norm().item<double>(), 2);

  at::set_num_threads(3);
  for (const std::size_t threads : {1, 2, 3, 8}) {
    ShardedEncoder sharded(encoder, threads);
    for (int round = 0; round < 2; ++round) {  // the second must not see the first's gradients
      const torch::Tensor vectors = sharded.forward(sequences, 4);
      CHECK(farthest(vectors.detach(), wanted.detach()) < 1e-6);
      vectors.mutable_grad() = weights.clone();
      CHECK(sharded.backward(vectors) == Approx(std::sqrt(square)).epsilon(1e-4));
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        CAPTURE(threads, round, encoder.names()[i]);
        CHECK(farthest(encoder.parameters()[i].grad(), gradients[i]) <
              1e-4 * (1 + gradients[i].abs().max().item<double>()));
      }
    }
    CHECK(farthest(sharded.embed(sequences), wanted.detach()) < 1e-6);
  }
}
