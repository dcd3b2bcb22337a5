#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "promptcache/pairs/neighbours.hpp"

namespace promptcache {

struct Neighbour {
  float similarity = std::numeric_limits<float>::lowest();
  std::uint32_t position = std::numeric_limits<std::uint32_t>::max();  ///< that: none yet

  bool there() const noexcept { return position != std::numeric_limits<std::uint32_t>::max(); }
};

/// The k most similar ones offered to each of many prompts, ties by smaller position: what is kept does not depend on
/// the order of the offers. Not thread-safe, but for different prompts.
class NearestLists {
 public:
  NearestLists(std::size_t prompts, std::size_t k)
      : k_(k), floors_(prompts, std::numeric_limits<float>::lowest()), lists_(prompts * k) {}

  std::size_t prompts() const noexcept { return floors_.size(); }

  /// An offer below this is not taken.
  float floor(std::size_t prompt) const noexcept { return floors_[prompt]; }

  void offer(std::size_t prompt, std::uint32_t position, float similarity) {
    Neighbour* list = lists_.data() + prompt * k_;
    const auto better = [&](const Neighbour& other) {
      return similarity > other.similarity || (similarity == other.similarity && position < other.position);
    };
    std::size_t place = k_ - 1;
    if (!better(list[place])) return;
    for (; place > 0 && better(list[place - 1]); --place) list[place] = list[place - 1];
    list[place] = {similarity, position};
    floors_[prompt] = list[k_ - 1].similarity;
  }

  /// Best first.
  std::span<const Neighbour> of(std::size_t prompt) const { return {lists_.data() + prompt * k_, k_}; }

 private:
  std::size_t k_;
  std::vector<float> floors_;  // beside each other, as a block looks at those of all its columns for each row
  std::vector<Neighbour> lists_;
};

/// The pairs of prompts with those on their lists, once each, in order of positions.
std::vector<PromptPair> pairs_of(const NearestLists& lists);

}  // namespace promptcache
