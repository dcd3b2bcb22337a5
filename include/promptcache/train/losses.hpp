#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <vector>

namespace promptcache::train {

/// Training losses. The first three are over logits z = s / lambda - c and labels in [0, 1] (arXiv 2402.01173), all in
/// log-space: finite with finite gradients for any finite z, f32 and f64 alike. The others know no head and are there
/// to compare with: what sentence encoders are commonly tuned with.
enum class Loss { bce, sld, sld_symmetric, cosine, contrastive, triplet };

/// Mean binary cross entropy: softplus(z) - y z.
torch::Tensor bce_loss(const torch::Tensor& logits, const torch::Tensor& labels);

/// Mean squared log difference (log P - log P*)^2 with P* = clip(y, eps, 1 - eps), since log 0 has no meaning;
/// symmetric adds the same term of 1 - P.
torch::Tensor sld_loss(const torch::Tensor& logits, const torch::Tensor& labels, double eps, bool symmetric);

/// One of the two above: `loss` is bce, sld or sld_symmetric.
torch::Tensor loss_of(Loss loss, const torch::Tensor& logits, const torch::Tensor& labels, double eps);

/// Mean squared difference of cosine and label (Reimers and Gurevych 2019).
torch::Tensor cosine_loss(const torch::Tensor& similarities, const torch::Tensor& labels);

/// The distinct texts of a batch and how its pairs lie among them.
struct BatchPairs {
  torch::Tensor first, second;      ///< int64 [pairs], rows of the texts
  torch::Tensor labels;             ///< f32 [pairs], in [0, 1]
  std::vector<std::size_t> groups;  ///< of each text: texts that positive pairs of the data link have the same number
};

/// In-batch negatives (InfoNCE; van den Oord et al. 2018): each positive pair's texts must find each other among all
/// texts of the batch, but for those of their own group; softmax over cosine / temperature, both ways, pairs weighted
/// by label. `vectors`: [texts, dimension], L2-normalised. 0, with gradients of 0, for a batch without positive pair.
torch::Tensor contrastive_loss(const torch::Tensor& vectors, const BatchPairs& pairs, double temperature);

/// Triplets of each positive pair and each text of another group in the batch: the mean of those max(0, margin -
/// s(pair) + s(text, other)) that are above 0 (Hermans et al. 2017), both ways, pairs weighted by label. As
/// `contrastive_loss` otherwise.
torch::Tensor triplet_loss(const torch::Tensor& vectors, const BatchPairs& pairs, double margin);

/// What keeps an encoder's knowledge while it learns: mean squared change of the cosines between all texts of a batch,
/// other than the labelled pairs', from those of the untouched encoder. `before`: its vectors of the same texts.
torch::Tensor preservation_loss(const torch::Tensor& vectors, const torch::Tensor& before, const BatchPairs& pairs);

}  // namespace promptcache::train
