#pragma once

#include <torch/torch.h>

namespace promptcache::train {

/// Training losses over logits z = s / lambda - c and labels in [0, 1] (methods.md A.3), all in log-space: finite with
/// finite gradients for any finite z, f32 and f64 alike.
enum class Loss { bce, sld, sld_symmetric };

/// Mean binary cross entropy: softplus(z) - y z.
torch::Tensor bce_loss(const torch::Tensor& logits, const torch::Tensor& labels);

/// Mean squared log difference (log P - log P*)^2 with P* = clip(y, eps, 1 - eps), since log 0 has no meaning;
/// symmetric adds the same term of 1 - P.
torch::Tensor sld_loss(const torch::Tensor& logits, const torch::Tensor& labels, double eps, bool symmetric);

torch::Tensor loss_of(Loss loss, const torch::Tensor& logits, const torch::Tensor& labels, double eps);

}  // namespace promptcache::train
