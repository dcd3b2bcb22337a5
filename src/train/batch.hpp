#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "promptcache/train/encoder.hpp"
#include "promptcache/train/losses.hpp"
#include "train/dataset.hpp"

namespace promptcache::train {

/// The distinct texts of a batch in order of length, and how its pairs lie among them.
struct TextBatch {
  std::vector<TokenSequence> sequences;  ///< into the data set
  torch::Tensor numbers;                 ///< int64 [texts], of the texts in the data set
  BatchPairs pairs;
};

/// `groups`: of all texts of the data set, where the loss asks for them; otherwise empty.
TextBatch text_batch(const Dataset& data, const std::vector<std::size_t>& items, const std::vector<std::size_t>& groups,
                     torch::Device device);

/// Pairs to be read together, in order of length.
struct PairBatch {
  std::vector<text::PairEncoding> pairs;
  torch::Tensor labels;  ///< f32 [pairs]

  std::vector<TokenSequence> sequences() const;
};

/// Each pair is read in an order of its own, drawn by `seed`, so that a scorer learns that it means nothing.
PairBatch pair_batch(const Dataset& data, const std::vector<std::size_t>& items, const PairReading& reading,
                     std::uint64_t seed, torch::Device device);

}  // namespace promptcache::train
