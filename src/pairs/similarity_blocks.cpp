#include "pairs/similarity_blocks.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <mutex>
#include <string>
#include <thread>

#include "index/dot_tile.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr std::size_t step = 12;           // of a block's side: whole groups of the kernel in both directions
constexpr std::size_t largest_side = 504;  // more saves no time: reading the rows is a hundredth of the work

}  // namespace

std::size_t block_side(std::size_t prompts, const PairSearchOptions& options) {
  const std::size_t threads = std::max<std::size_t>(1, options.threads);
  const double values = static_cast<double>(options.block_bytes) / sizeof(float) / static_cast<double>(threads);
  const auto memory = static_cast<std::size_t>(std::sqrt(std::max(1.0, values)));
  const std::size_t shared = prompts / (4 * threads);
  return std::max(step, std::min({largest_side, memory, std::max<std::size_t>(48, shared)}) / step * step);
}

void run_tasks(std::size_t count, std::string_view stage, const PairSearchOptions& options,
               const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;  // of all that follows and of the progress callback
  std::size_t done = 0;
  std::exception_ptr failure;
  const auto loop = [&] {
    try {
      for (std::size_t task = next++; task < count; task = next++) {
        work(task);
        const std::lock_guard lock(mutex);
        if (failure) return;
        ++done;
        if (options.progress) options.progress({stage, done, count, "blocks", ""});
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  std::vector<std::jthread> helpers;
  const std::size_t useful = std::min(std::max<std::size_t>(1, options.threads), count);
  for (std::size_t t = 1; t < useful; ++t) helpers.emplace_back(loop);
  loop();
  helpers.clear();  // joins
  if (failure) std::rethrow_exception(failure);
}

void visit_all_pairs(const PromptVectors& vectors, std::size_t side, const PairSearchOptions& options,
                     const std::function<void(const SimilarityBlock&)>& visit) {
  const std::size_t groups = (vectors.size() + side - 1) / side;
  // Task t is the block `row`, `row + diagonal`; diagonal d has groups - d of them, so it begins at d*groups -
  // d(d-1)/2.
  const auto begin_of = [&](std::size_t diagonal) { return diagonal * groups - diagonal * (diagonal - 1) / 2; };
  const auto work = [&](std::size_t task) {
    std::size_t low = 0;
    std::size_t high = groups;
    while (high - low > 1) {
      const std::size_t middle = (low + high) / 2;
      (begin_of(middle) <= task ? low : high) = middle;
    }
    thread_local std::vector<float> values;
    SimilarityBlock block;
    block.row_group = task - begin_of(low);
    block.column_group = block.row_group + low;
    block.row_begin = block.row_group * side;
    block.row_end = std::min(vectors.size(), block.row_begin + side);
    block.column_begin = block.column_group * side;
    block.column_end = std::min(vectors.size(), block.column_begin + side);
    block.stride = block.column_end - block.column_begin;
    values.resize((block.row_end - block.row_begin) * block.stride);
    block.values = values.data();
    const float* rows = vectors.values.data();
    index::dot_tile(rows + block.row_begin * vectors.dimension, block.row_end - block.row_begin,
                    rows + block.column_begin * vectors.dimension, block.stride, vectors.dimension, values.data(),
                    block.stride);
    visit(block);
  };
  run_tasks(groups * (groups + 1) / 2, "searching", options, work);
}

void check_vectors(const PromptVectors& vectors) {
  if (vectors.dimension == 0 || vectors.values.size() % vectors.dimension != 0) {
    throw Error(ErrorCode::usage, {"vectors"}, std::to_string(vectors.values.size()) + " values",
                "whole vectors of dimension " + std::to_string(vectors.dimension));
  }
  if (vectors.size() > std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorCode::usage, {"vectors"}, std::to_string(vectors.size()) + " prompts", "fewer than 2^32");
  }
  const auto bad =
      std::find_if(vectors.values.begin(), vectors.values.end(), [](float x) { return !std::isfinite(x); });
  if (bad != vectors.values.end()) {
    const auto at = static_cast<std::size_t>(bad - vectors.values.begin());
    throw Error(ErrorCode::numeric, {"vector of prompt " + std::to_string(at / vectors.dimension + 1)},
                std::to_string(*bad), "finite values");
  }
}

void check_neighbours(std::size_t prompts, std::size_t k) {
  if (prompts < 2) {
    throw Error(ErrorCode::usage, {"neighbours"}, std::to_string(prompts) + " distinct prompt" + (prompts ? "" : "s"),
                "at least 2: one has no neighbour");
  }
  if (k == 0 || k >= prompts) {
    throw Error(ErrorCode::usage, {"k"}, std::to_string(k),
                "1 to " + std::to_string(prompts - 1) + " neighbours in a log of " + std::to_string(prompts) +
                    " distinct prompts");
  }
}

}  // namespace promptcache
