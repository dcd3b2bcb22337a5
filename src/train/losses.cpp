#include "promptcache/train/losses.hpp"

namespace promptcache::train {
namespace {

/// Positive pairs read in one direction: which text looks for which, and what it may be mistaken for.
struct Searches {
  torch::Tensor cosines;  ///< [positives, texts]; the text's own group but the one wanted is at -2, below any cosine
  torch::Tensor wanted;   ///< int64 [positives]
  torch::Tensor weights;  ///< [positives]
};

Searches searches(const torch::Tensor& vectors, const BatchPairs& pairs, bool forward) {
  const torch::Tensor labels = pairs.labels.to(vectors.options());
  const torch::Tensor positive = torch::nonzero(labels >= 0.5).view(-1);
  const torch::Tensor from = (forward ? pairs.first : pairs.second).index_select(0, positive);
  Searches result;
  result.wanted = (forward ? pairs.second : pairs.first).index_select(0, positive);
  result.weights = labels.index_select(0, positive);
  const std::vector<std::int64_t> numbers(pairs.groups.begin(), pairs.groups.end());
  const torch::Tensor groups = torch::tensor(numbers, torch::kInt64).to(vectors.device());
  torch::Tensor same = groups.index_select(0, from).unsqueeze(1) == groups.unsqueeze(0);
  same = same.scatter(1, result.wanted.unsqueeze(1), false);
  result.cosines = torch::matmul(vectors.index_select(0, from), vectors.t()).masked_fill(same, -2);
  return result;
}

torch::Tensor weighted_mean(const torch::Tensor& values, const torch::Tensor& weights) {
  return (values * weights).sum() / weights.sum();
}

template <class LossOfSearches>
torch::Tensor both_ways(const torch::Tensor& vectors, const BatchPairs& pairs, LossOfSearches loss) {
  const Searches there = searches(vectors, pairs, true);
  if (there.wanted.numel() == 0) return vectors.sum() * 0;
  return (loss(there) + loss(searches(vectors, pairs, false))) / 2;
}

}  // namespace

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

torch::Tensor cosine_loss(const torch::Tensor& similarities, const torch::Tensor& labels) {
  return (similarities - labels).square().mean();
}

torch::Tensor contrastive_loss(const torch::Tensor& vectors, const BatchPairs& pairs, double temperature) {
  return both_ways(vectors, pairs, [&](const Searches& part) {
    // What is masked stays in the sum of the softmax with next to no weight at common temperatures; none at all is
    // wanted.
    const torch::Tensor logits = (part.cosines / temperature).masked_fill(part.cosines <= -2, -1e30);
    const torch::Tensor chances = torch::log_softmax(logits, 1);
    return weighted_mean(-chances.gather(1, part.wanted.unsqueeze(1)).squeeze(1), part.weights);
  });
}

torch::Tensor triplet_loss(const torch::Tensor& vectors, const BatchPairs& pairs, double margin) {
  return both_ways(vectors, pairs, [&](const Searches& part) {
    const torch::Tensor wanted = part.wanted.unsqueeze(1);
    // At -2, which no cosine is, a text makes no triplet.
    const torch::Tensor others = part.cosines.scatter(1, wanted, -2.0);
    const torch::Tensor losses =
        torch::relu(margin - part.cosines.gather(1, wanted) + others) * (others > -2).to(vectors.options());
    const torch::Tensor weights = part.weights.unsqueeze(1);
    const torch::Tensor count = ((losses > 0).to(vectors.options()) * weights).sum();
    return (losses * weights).sum() / count.clamp_min(1e-6);
  });
}

torch::Tensor preservation_loss(const torch::Tensor& vectors, const torch::Tensor& before, const BatchPairs& pairs) {
  const std::int64_t texts = vectors.size(0);
  torch::Tensor counts = 1 - torch::eye(texts, vectors.options());
  counts.index_put_({pairs.first, pairs.second}, 0);
  counts.index_put_({pairs.second, pairs.first}, 0);
  const torch::Tensor change = torch::matmul(vectors, vectors.t()) - torch::matmul(before, before.t());
  return (change.square() * counts).sum() / counts.sum().clamp_min(1);
}

}  // namespace promptcache::train
