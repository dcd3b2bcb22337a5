#pragma once

#include <cstddef>
#include <functional>

#include "promptcache/pairs/neighbours.hpp"

namespace promptcache {

/// Similarities of some prompts, the rows, with some others, the columns.
struct SimilarityBlock {
  std::size_t row_begin = 0, row_end = 0;
  std::size_t column_begin = 0, column_end = 0;
  std::size_t row_group = 0, column_group = 0;  ///< which block of the log rows and columns are, counted from 0
  const float* values = nullptr;
  std::size_t stride = 0;

  /// Similarities of prompt `row_begin + i`, those with `column_begin + j` at j.
  const float* row(std::size_t i) const { return values + i * stride; }
  /// The first column to look at in row i: in a block of prompts with themselves each pair counts once.
  std::size_t first_column(std::size_t i) const { return row_group == column_group ? i + 1 : 0; }
};

/// Side of the blocks of a log: what the memory allows, and enough blocks for the threads to share.
std::size_t block_side(std::size_t prompts, const PairSearchOptions& options);

/// Runs `work(task)` for each task below `count` on `options.threads` threads; the progress says `stage` and counts
/// tasks. The first exception ends the rest and is thrown.
void run_tasks(std::size_t count, std::string_view stage, const PairSearchOptions& options,
               const std::function<void(std::size_t)>& work);

/// Visits all pairs of prompts, once each, block by block, from all threads at the same time. Blocks that follow each
/// other have other rows and other columns, so that locks on these rarely meet.
void visit_all_pairs(const PromptVectors& vectors, std::size_t side, const PairSearchOptions& options,
                     const std::function<void(const SimilarityBlock&)>& visit);

/// Throws the errors of vectors that `nearest_pairs` names.
void check_vectors(const PromptVectors& vectors);

/// The same for a number of neighbours.
void check_neighbours(std::size_t prompts, std::size_t k);

}  // namespace promptcache
