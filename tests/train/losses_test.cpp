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
