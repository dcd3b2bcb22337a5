#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>  // greater
#include <limits>
#include <span>
#include <vector>

#include "promptcache/index/similarity_index.hpp"

namespace promptcache::index {

/// Throws what `SimilarityIndex::add` and `search` promise for a vector that does not fit.
void check_vector(std::span<const float> vector, std::size_t dimension);

/// The order of search results: most similar first, ties by smaller id.
inline bool better(const Candidate& a, const Candidate& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.id < b.id);
}

/// Writes the best candidates in order; returns how many.
std::size_t write_best(std::vector<Candidate>& candidates, std::span<Candidate> out);

/// Rows of which each may be among the `k` most similar, going by similarities that are off by up to a known slack. All
/// others are not.
class Shortlist {
 public:
  void begin(std::size_t k) {
    k_ = k;
    floor_ = std::numeric_limits<float>::lowest();
    rows_.clear();
    lowest_.clear();
  }

  /// What the k-th best similarity is at least: rows that cannot reach it need not be offered.
  float floor() const noexcept { return floor_; }

  void offer(std::size_t row, float similarity, float slack) {
    if (similarity + slack < floor_) return;
    rows_.push_back({row, similarity + slack});
    if (lowest_.size() == k_ && similarity - slack <= floor_) return;
    lowest_.push_back(similarity - slack);
    std::push_heap(lowest_.begin(), lowest_.end(), std::greater<>());
    if (lowest_.size() > k_) {
      std::pop_heap(lowest_.begin(), lowest_.end(), std::greater<>());
      lowest_.pop_back();
    }
    if (lowest_.size() == k_) floor_ = lowest_.front();
  }

  /// `visit(row, highest)`, `highest` being what its similarity can be at most.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Row& row : rows_) {
      if (row.highest >= floor_) visit(row.row, row.highest);
    }
  }

 private:
  struct Row {
    std::size_t row;
    float highest;
  };

  std::size_t k_ = 0;
  float floor_ = 0;  // the k-th best similarity is at least this
  std::vector<Row> rows_;
  std::vector<float> lowest_;  // a heap of the k best lower bounds
};

}  // namespace promptcache::index
