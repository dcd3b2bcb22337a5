#include "promptcache/train/losses.hpp"

namespace promptcache::train {

torch::Tensor bce_loss(const torch::Tensor& logits, const torch::Tensor& labels) {
  return (torch::nn::functional::softplus(logits) - labels * logits).mean();
}

torch::Tensor sld_loss(const torch::Tensor& logits, const torch::Tensor& labels, double eps, bool symmetric) {
  const torch::Tensor target = labels.clamp(eps, 1 - eps);
  torch::Tensor loss = (torch::log_sigmoid(logits) - target.log()).square();
  if (symmetric) loss = loss + (torch::log_sigmoid(-logits) - (1 - target).log()).square();
  return loss.mean();
}

torch::Tensor loss_of(Loss loss, const torch::Tensor& logits, const torch::Tensor& labels, double eps) {
  return loss == Loss::bce ? bce_loss(logits, labels) : sld_loss(logits, labels, eps, loss == Loss::sld_symmetric);
}

}  // namespace promptcache::train
