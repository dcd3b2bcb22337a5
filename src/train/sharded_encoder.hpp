#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "promptcache/train/encoder.hpp"

namespace promptcache::train {

/// Runs an encoder over a batch in shards, one a thread on the CPU and one in all elsewhere: every thread does all the
/// work on some of the texts, which leaves none of them waiting inside a matrix product or a pass over memory. Results
/// depend on the number of shards and are the same at each run.
class ShardedEncoder {
 public:
  ShardedEncoder(Encoder& encoder, std::size_t threads);

  /// What the encoder makes of the sequences, [sequences, outputs], on the CPU, without gradients or dropout.
  torch::Tensor embed(std::span<const TokenSequence> sequences) const;

  /// The same for training on the encoder's device, with dropout: a leaf whose gradient `backward` takes on.
  torch::Tensor forward(std::span<const TokenSequence> sequences, std::uint64_t seed, bool bf16 = false);

  /// Sets the gradients of all parameters from that of the last `forward`'s outputs, and returns their global norm.
  double backward(const torch::Tensor& outputs);

  const Encoder& encoder() const { return encoder_; }

 private:
  struct Shard {
    TokenBatch batch;
    torch::Tensor word_rows;  // leaf
    torch::Tensor outputs;
    std::vector<torch::Tensor> gradients;  // of the parameters but the word embeddings, then of the word rows
  };

  template <class Body>
  void for_each_shard(Body body) const;
  double sum_gradients();

  Encoder& encoder_;
  std::size_t threads_;
  std::vector<Shard> shards_;
  torch::Tensor word_gradient_;  // of the whole table; only the last batch's rows differ from zero
  torch::Tensor used_words_;     // those rows
};

/// Gives the BLAS behind LibTorch one thread, where it is one that can be asked: `ShardedEncoder` brings the threads.
void use_one_blas_thread();

}  // namespace promptcache::train
