#include "train/sharded_encoder.hpp"

#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace promptcache::train {

void use_one_blas_thread() {
  // LibTorch does not say which BLAS it has; OpenBLAS, Debian's fast one, keeps a pool of its own beside OpenMP's.
  if (void* symbol = ::dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) reinterpret_cast<void (*)(int)>(symbol)(1);
}

ShardedEncoder::ShardedEncoder(Encoder& encoder, std::size_t threads)
    : encoder_(encoder), threads_(encoder.device().is_cpu() ? threads : 1) {}

template <class Body>
void ShardedEncoder::for_each_shard(Body body) const {
  // Inside, LibTorch sees that it is in a parallel region and stays on the thread.
  at::parallel_for(0, static_cast<std::int64_t>(threads_), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t shard = begin; shard < end; ++shard) body(static_cast<std::size_t>(shard));
  });
}

torch::Tensor ShardedEncoder::embed(std::span<const TokenSequence> sequences) const {
  std::vector<std::size_t> order(sequences.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return sequences[a].ids.size() < sequences[b].ids.size(); });
  constexpr std::size_t block = 32;
  torch::Tensor outputs;
  {
    const torch::NoGradGuard no_grad;
    outputs = torch::empty({static_cast<std::int64_t>(sequences.size()), encoder_.outputs()});
  }
  for_each_shard([&](std::size_t shard) {
    const torch::NoGradGuard no_grad;
    for (std::size_t begin = shard * block; begin < order.size(); begin += threads_ * block) {
      const std::size_t end = std::min(order.size(), begin + block);
      std::vector<TokenSequence> part;
      std::vector<std::int64_t> rows;
      for (std::size_t i = begin; i < end; ++i) {
        part.push_back(sequences[order[i]]);
        rows.push_back(static_cast<std::int64_t>(order[i]));
      }
      const torch::Tensor out = encoder_.forward(pack(part, encoder_.config(), encoder_.device()));
      outputs.index_copy_(0, torch::tensor(rows, torch::kInt64), out.to(torch::kCPU));
    }
  });
  return outputs;
}

torch::Tensor ShardedEncoder::forward(std::span<const TokenSequence> sequences, std::uint64_t seed, bool bf16) {
  shards_.assign(std::min(threads_, sequences.size()), {});
  const auto count = static_cast<std::int64_t>(sequences.size());
  const auto step = static_cast<std::int64_t>(shards_.size());
  torch::Tensor outputs = torch::empty({count, encoder_.outputs()}, encoder_.parameters()[0].options());
  for_each_shard([&](std::size_t number) {
    if (number >= shards_.size()) return;
    const torch::AutoGradMode with_gradients(true);
    Shard& shard = shards_[number];
    // Texts of a batch are of like length and dealt out one by one, so the shards are about equal.
    std::vector<TokenSequence> part;
    for (std::size_t i = number; i < sequences.size(); i += shards_.size()) part.push_back(sequences[i]);
    shard.batch = pack(part, encoder_.config(), encoder_.device());
    shard.word_rows = encoder_.parameters()[0].detach().index_select(0, shard.batch.ids).requires_grad_(true);
    ForwardOptions options;
    options.training = true;
    options.seed = seed * 1024 + number;
    options.word_rows = shard.word_rows;
    options.bf16 = bf16;
    shard.outputs = encoder_.forward(shard.batch, options);
    const torch::NoGradGuard no_grad;
    outputs.slice(0, static_cast<std::int64_t>(number), count, step).copy_(shard.outputs.detach());
  });
  return outputs.requires_grad_(true);
}

double ShardedEncoder::backward(const torch::Tensor& outputs) {
  const torch::Tensor gradient = outputs.grad();
  const auto step = static_cast<std::int64_t>(shards_.size());
  for_each_shard([&](std::size_t number) {
    if (number >= shards_.size()) return;
    Shard& shard = shards_[number];
    std::vector<torch::Tensor> inputs(encoder_.parameters().begin() + 1, encoder_.parameters().end());
    inputs.push_back(shard.word_rows);
    const torch::Tensor part = gradient.slice(0, static_cast<std::int64_t>(number), gradient.size(0), step);
    shard.gradients = torch::autograd::grad({shard.outputs}, inputs, {part.contiguous()});
    shard.outputs = torch::Tensor();  // and with it the graph
  });
  return sum_gradients();
}

double ShardedEncoder::sum_gradients() {
  const torch::NoGradGuard no_grad;
  const std::vector<torch::Tensor>& parameters = encoder_.parameters();
  std::vector<double> squares(parameters.size() - 1);
  at::parallel_for(0, static_cast<std::int64_t>(squares.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    const torch::NoGradGuard no_grad_here;
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      torch::Tensor sum = shards_[0].gradients[i];
      for (std::size_t shard = 1; shard < shards_.size(); ++shard) sum.add_(shards_[shard].gradients[i]);
      parameters[i + 1].mutable_grad() = sum;
      squares[i] = std::pow(sum.norm().item<double>(), 2);
    }
  });
  double square = std::accumulate(squares.begin(), squares.end(), 0.0);
  // A table of tens of thousands of rows is not cleared, summed and measured for the hundreds that a batch uses.
  if (!word_gradient_.defined()) {
    word_gradient_ = torch::zeros_like(parameters[0]);
  } else {
    word_gradient_.index_fill_(0, used_words_, 0);
  }
  std::vector<torch::Tensor> ids;
  for (const Shard& shard : shards_) {
    word_gradient_.index_add_(0, shard.batch.ids, shard.gradients.back());
    ids.push_back(shard.batch.ids);
  }
  used_words_ = std::get<0>(torch::_unique(torch::cat(ids)));
  square += std::pow(word_gradient_.index_select(0, used_words_).norm().item<double>(), 2);
  parameters[0].mutable_grad() = word_gradient_;
  shards_.clear();
  return std::sqrt(square);
}

}  // namespace promptcache::train
