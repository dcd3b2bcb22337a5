#include "promptcache/train/losses.hpp"

#include <cmath>

#include "promptcache/train/adamw.hpp"
#include "support.hpp"

namespace {

using namespace promptcache::train;

double loss_at(Loss loss, double z, double y, double eps) {
  return loss_of(loss, torch::tensor({z}, torch::kFloat64), torch::tensor({y}, torch::kFloat64), eps).item<double>();
}

double gradient_at(Loss loss, double z, double y, double eps, torch::ScalarType type) {
  torch::Tensor logits = torch::tensor({z}, type);
  logits.set_requires_grad(true);
  loss_of(loss, logits, torch::tensor({y}, type), eps).backward();
  return logits.grad().item<double>();
}

}  // namespace

TEST_CASE("loss gradients equal finite differences, also far out in the tails") {
  for (Loss loss : {Loss::bce, Loss::sld, Loss::sld_symmetric}) {
    for (double z : {-188.0, -30.0, -2.0, 0.0, 0.3, 5.0, 30.0, 188.0}) {
      for (double y : {0.0, 0.2, 1.0}) {
        CAPTURE(static_cast<int>(loss), z, y);
        const double h = 1e-4;
        const double numeric = (loss_at(loss, z + h, y, 1e-3) - loss_at(loss, z - h, y, 1e-3)) / (2 * h);
        const double exact = gradient_at(loss, z, y, 1e-3, torch::kFloat64);
        CHECK(exact == Approx(numeric).epsilon(1e-5).margin(1e-6));
        const double single = gradient_at(loss, z, y, 1e-3, torch::kFloat32);
        CHECK(std::isfinite(single));
        CHECK(single == Approx(exact).epsilon(1e-4).margin(1e-5));
      }
    }
  }
}

TEST_CASE("losses have their textbook values") {
  CHECK(loss_at(Loss::bce, 0, 1, 1e-3) == Approx(std::log(2)));
  CHECK(loss_at(Loss::bce, 188, 0, 1e-3) == Approx(188));
  CHECK(loss_at(Loss::sld, 0, 0, 1e-3) == Approx(std::pow(std::log(0.5) - std::log(1e-3), 2)));
  CHECK(loss_at(Loss::sld, 0, 1, 1e-3) == Approx(std::pow(std::log(0.5) - std::log(0.999), 2)));
  CHECK(loss_at(Loss::sld_symmetric, 0, 0.5, 1e-3) == Approx(0).margin(1e-12));
}

namespace {

/// A batch of six texts: 0-1 and 2-3 are positive, 0-4 negative, 5 is of the group of 2 and 3.
struct Batch {
  torch::Tensor vectors;
  BatchPairs pairs;

  Batch() {
    torch::manual_seed(3);
    vectors = torch::nn::functional::normalize(torch::randn({6, 4}, torch::kFloat64));
    pairs.first = torch::tensor({0, 2, 0}, torch::kInt64);
    pairs.second = torch::tensor({1, 3, 4}, torch::kInt64);
    pairs.labels = torch::tensor({1.0F, 0.75F, 0.0F});
    pairs.groups = {0, 0, 1, 1, 2, 1};
  }
  double cosine(std::size_t a, std::size_t b) const {
    return (vectors[static_cast<long>(a)] * vectors[static_cast<long>(b)]).sum().item<double>();
  }
};

/// The largest difference between autograd's gradient of the vectors and finite differences.
template <class LossOf>
double gradient_error(const torch::Tensor& vectors, LossOf loss_of_vectors) {
  const torch::Tensor leaf = vectors.clone().requires_grad_(true);
  loss_of_vectors(leaf).backward();
  double worst = 0;
  const double h = 1e-6;
  for (long i = 0; i < vectors.size(0); ++i) {
    for (long j = 0; j < vectors.size(1); ++j) {
      torch::Tensor up = vectors.clone();
      torch::Tensor down = vectors.clone();
      up[i][j] += h;
      down[i][j] -= h;
      const double numeric = (loss_of_vectors(up) - loss_of_vectors(down)).template item<double>() / (2 * h);
      worst = std::max(worst, std::abs(numeric - leaf.grad()[i][j].item<double>()));
    }
  }
  return worst;
}

/// Each direction of each positive pair: from, to, weight.
constexpr struct {
  std::size_t from, to;
  double weight;
} directions[] = {{0, 1, 1}, {2, 3, 0.75}, {1, 0, 1}, {3, 2, 0.75}};

}  // namespace

TEST_CASE("the contrastive loss leaves out a text's own group and weighs by label") {
  const Batch batch;
  const double temperature = 0.1;
  double wanted = 0;
  for (const auto& [from, to, weight] : directions) {
    double sum = 0;
    for (std::size_t other = 0; other < 6; ++other) {
      if (other != to && batch.pairs.groups[other] == batch.pairs.groups[from]) continue;
      sum += std::exp(batch.cosine(from, other) / temperature);
    }
    wanted += weight * (std::log(sum) - batch.cosine(from, to) / temperature) / 1.75 / 2;
  }
  const auto loss = [&](const torch::Tensor& vectors) { return contrastive_loss(vectors, batch.pairs, temperature); };
  CHECK(loss(batch.vectors).item<double>() == Approx(wanted));
  CHECK(gradient_error(batch.vectors, loss) < 1e-7);
}

TEST_CASE("the triplet loss is the mean of the triplets that are not yet right") {
  const Batch batch;
  const double margin = 0.4;
  double wanted = 0;
  for (const std::size_t way : {0, 2}) {
    double sum = 0, count = 0;
    for (const std::size_t at : {way, way + 1}) {
      const auto& [from, to, weight] = directions[at];
      for (std::size_t other = 0; other < 6; ++other) {
        if (batch.pairs.groups[other] == batch.pairs.groups[from]) continue;
        const double loss = margin - batch.cosine(from, to) + batch.cosine(from, other);
        sum += weight * std::max(0.0, loss);
        count += loss > 0 ? weight : 0;
      }
    }
    wanted += sum / count / 2;
  }
  const auto loss = [&](const torch::Tensor& vectors) { return triplet_loss(vectors, batch.pairs, margin); };
  CHECK(loss(batch.vectors).item<double>() == Approx(wanted));
  CHECK(gradient_error(batch.vectors, loss) < 1e-7);
}

TEST_CASE("a batch without a positive pair has a loss of 0 and gradients of 0") {
  Batch batch;
  batch.pairs.labels = torch::zeros({3});
  batch.vectors.set_requires_grad(true);
  const torch::Tensor loss =
      contrastive_loss(batch.vectors, batch.pairs, 0.1) + triplet_loss(batch.vectors, batch.pairs, 0.2);
  loss.backward();
  CHECK(loss.item<double>() == 0);
  CHECK(batch.vectors.grad().abs().max().item<double>() == 0);
}

TEST_CASE("preservation counts the changes of cosines other than the labelled pairs'") {
  const Batch batch;
  torch::manual_seed(4);
  const torch::Tensor before = torch::nn::functional::normalize(torch::randn({6, 4}, torch::kFloat64));
  double wanted = 0;
  std::size_t count = 0;
  for (long i = 0; i < 6; ++i) {
    for (long j = 0; j < i; ++j) {
      if ((i == 1 && j == 0) || (i == 3 && j == 2) || (i == 4 && j == 0)) continue;
      const double change = ((batch.vectors[i] * batch.vectors[j]) - (before[i] * before[j])).sum().item<double>();
      wanted += change * change;
      ++count;
    }
  }
  const auto loss = [&](const torch::Tensor& vectors) { return preservation_loss(vectors, before, batch.pairs); };
  CHECK(loss(batch.vectors).item<double>() == Approx(wanted / static_cast<double>(count)));
  CHECK(loss(before).item<double>() == 0);
  CHECK(gradient_error(batch.vectors, loss) < 1e-7);
}

TEST_CASE("the cosine loss is the mean squared difference of cosine and label") {
  const torch::Tensor similarities = torch::tensor({0.5, -0.25}, torch::kFloat64);
  CHECK(cosine_loss(similarities, torch::tensor({1.0, 0.25}, torch::kFloat64)).item<double>() == Approx(0.25));
}

TEST_CASE("AdamW follows its published update") {
  torch::Tensor parameter = torch::tensor({1.0F, -2.0F});
  parameter.set_requires_grad(true);
  AdamW::Options options;
  options.weight_decay = 0.1;
  AdamW optimizer({parameter}, {true}, options);
  double p = 1, m = 0, v = 0;
  for (int step = 1; step <= 5; ++step) {
    parameter.mutable_grad() = torch::tensor({0.5F * static_cast<float>(step), 0.0F});
    optimizer.step(0.01, 2.0);
    const double g = 2 * 0.5 * step;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p *= 1 - 0.01 * 0.1;
    p -= 0.01 * (m / (1 - std::pow(0.9, step))) / (std::sqrt(v / (1 - std::pow(0.999, step))) + 1e-8);
  }
  CHECK(parameter[0].item<double>() == Approx(p).epsilon(1e-5));
  CHECK(parameter[1].item<double>() == Approx(-2 * std::pow(0.999, 5)).epsilon(1e-6));  // decay alone
}

TEST_CASE("AdamW with a rate of its own for a parameter is AdamW with that learning rate") {
  const auto after = [](double learning_rate, std::vector<double> rates) {
    torch::Tensor parameter = torch::tensor({1.0F, -2.0F});
    parameter.set_requires_grad(true);
    AdamW optimizer({parameter}, {true}, {}, std::move(rates));
    for (int step = 0; step < 3; ++step) {
      parameter.mutable_grad() = torch::tensor({0.5F, -1.0F});
      optimizer.step(learning_rate, 1.0);
    }
    return parameter.detach();
  };
  CHECK(torch::equal(after(0.04, {0.25}), after(0.01, {})));
  CHECK_FALSE(torch::equal(after(0.04, {0.25}), after(0.04, {})));
}
