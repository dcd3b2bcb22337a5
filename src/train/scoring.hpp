#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "train/dataset.hpp"
#include "train/sharded_encoder.hpp"

namespace promptcache::train {

/// Vectors of all texts of the data [texts, dimension], without gradients.
torch::Tensor embed_texts(const ShardedEncoder& encoder, const Dataset& data, const char* stage,
                          const ProgressCallback& progress);

/// Cosine of each item.
std::vector<double> similarities(const torch::Tensor& vectors, const Dataset& data);

/// What the encoder says of each item: the cosine of its texts, or the logit of the two when it reads pairs, which
/// `reading` is for.
std::vector<double> scores_of(const ShardedEncoder& encoder, const Dataset& data,
                              const std::optional<PairReading>& reading, const char* stage,
                              const ProgressCallback& progress);

std::vector<double> labels_of(const Dataset& data);

/// How good weights are: the validation AUC, and the AUC on each guard.
struct Verdict {
  double auc = 0;
  std::vector<double> guards;
};

/// Judges weights by pairs that are not trained on, and knows which of two are to be kept.
class Judge {
 public:
  /// `sets`: first the validation pairs, then the guards. `slack`: what the AUC on a guard may lose. `reading`: as for
  /// `scores_of`.
  Judge(std::vector<Dataset> sets, double slack, const std::optional<PairReading>& reading = {});

  /// Throws `Error(diverged)` naming `place` when a score is not finite.
  Verdict judge(const ShardedEncoder& encoder, const std::string& place, const ProgressCallback& progress) const;

  /// Whether `first` is better than `second`: it breaks the guards less or, that being equal, has the higher validation
  /// AUC. What stays within the slack of `untouched` breaks nothing.
  bool better(const Verdict& first, const Verdict& second, const Verdict& untouched) const;

  const Dataset& valid() const { return sets_.front(); }
  std::size_t guards() const { return sets_.size() - 1; }

 private:
  double breach(const Verdict& verdict, const Verdict& untouched) const;

  std::vector<Dataset> sets_;
  double slack_;
  std::optional<PairReading> reading_;
};

}  // namespace promptcache::train
