#include "promptcache/train/adamw.hpp"

#include <ATen/Parallel.h>

#include <cmath>

namespace promptcache::train {

AdamW::AdamW(std::vector<torch::Tensor> parameters, std::vector<bool> decays, Options options,
             std::vector<double> rates)
    : parameters_(std::move(parameters)), decays_(std::move(decays)), rates_(std::move(rates)), options_(options) {
  if (rates_.empty()) rates_.assign(parameters_.size(), 1.0);
  for (const torch::Tensor& parameter : parameters_) {
    first_.push_back(torch::zeros_like(parameter.detach()));
    second_.push_back(torch::zeros_like(parameter.detach()));
  }
}

void AdamW::step(double learning_rate, double gradient_scale) {
  const torch::NoGradGuard no_grad;
  ++steps_;
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  const auto beta1 = static_cast<float>(options_.beta1);
  const auto beta2 = static_cast<float>(options_.beta2);
  const auto scale = static_cast<float>(gradient_scale);
  const auto root = static_cast<float>(1 / std::sqrt(correction2));
  const auto epsilon = static_cast<float>(options_.epsilon);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    torch::Tensor& parameter = parameters_[i];
    if (!parameter.grad().defined()) continue;
    const double own_rate = learning_rate * rates_[i];
    const auto rate = static_cast<float>(own_rate / correction1);
    const auto keep = static_cast<float>(decays_[i] ? 1 - own_rate * options_.weight_decay : 1);
    if (!parameter.is_cpu()) {
      const torch::Tensor gradient = parameter.grad() * scale;
      first_[i].mul_(beta1).add_(gradient, 1 - beta1);
      second_[i].mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);
      parameter.mul_(keep).addcdiv_(first_[i], second_[i].sqrt().mul_(root).add_(epsilon), -rate);
      continue;
    }
    const torch::Tensor gradient = parameter.grad().contiguous();
    float* __restrict p = parameter.data_ptr<float>();
    float* __restrict m = first_[i].data_ptr<float>();
    float* __restrict v = second_[i].data_ptr<float>();
    const float* __restrict g = gradient.data_ptr<float>();
    at::parallel_for(0, parameter.numel(), 1 << 15, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t j = begin; j < end; ++j) {
        const float value = g[j] * scale;
        m[j] = beta1 * m[j] + (1 - beta1) * value;
        v[j] = beta2 * v[j] + (1 - beta2) * value * value;
        p[j] = keep * p[j] - rate * m[j] / (std::sqrt(v[j]) * root + epsilon);
      }
    });
  }
}

}  // namespace promptcache::train
