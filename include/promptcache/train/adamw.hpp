#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace promptcache::train {

/// AdamW with decoupled weight decay (Loshchilov and Hutter 2019) over f32 tensors, one pass over memory a step on the
/// CPU. Deterministic for any number of threads: elements are independent.
class AdamW {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0.01;
  };

  /// `decays[i]` says whether weight decay applies to `parameters[i]` (not to biases and layer norms), `rates[i]` is
  /// its learning rate over that of the step; empty: 1 for all.
  AdamW(std::vector<torch::Tensor> parameters, std::vector<bool> decays, Options options,
        std::vector<double> rates = {});

  /// One update from the gradients times `gradient_scale`; a parameter without gradient is left alone.
  void step(double learning_rate, double gradient_scale);

  /// State for a checkpoint: first and second moments beside the parameters, and the number of steps done.
  std::vector<torch::Tensor>& first_moments() { return first_; }
  std::vector<torch::Tensor>& second_moments() { return second_; }
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

 private:
  std::vector<torch::Tensor> parameters_, first_, second_;
  std::vector<bool> decays_;
  std::vector<double> rates_;
  Options options_;
  std::int64_t steps_ = 0;
};

}  // namespace promptcache::train
