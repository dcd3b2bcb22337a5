#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace promptcache {

/// What is known about the prompts of a stream: their vectors, and which share a response.
struct StreamPrompts {
  std::size_t dimension = 0;
  std::vector<float> vectors;      ///< [prompts, dimension], L2-normalised
  std::vector<std::size_t> group;  ///< of each prompt; one response serves two prompts when they share a group

  std::size_t size() const { return group.size(); }

  /// Most hits that can be right: every prompt but the first of its group.
  std::size_t repeats() const;
};

/// Groups prompts by the positive pairs among them, directly or over others: `first[i]` and `second[i]` are the prompts
/// of pair i. What no positive pair links counts as another question, so unlabelled paraphrases count as wrong hits.
std::vector<std::size_t> groups_of(std::size_t prompts, std::span<const std::size_t> first,
                                   std::span<const std::size_t> second, std::span<const std::uint8_t> positive);

/// A cache's work on a stream at one threshold; means over the orders tried.
struct StreamPoint {
  double threshold = 0;
  double hits = 0;
  double true_hits = 0;
  double efficiency =
      0;  ///< (true hits - false hits) / repeats, methods.md A.7; negative when hits do more harm than good

  double wrong_share() const { return hits > 0 ? 1 - true_hits / hits : 0; }
};

/// Sends the prompts, each once, in `orders` random orders to a cache without bound that serves the nearest stored
/// prompt when it is strictly more similar than the threshold and stores the prompt otherwise (methods.md A.1, A.7).
/// Deterministic. Memory 4 bytes and time O(orders * thresholds) times the square of the number of prompts.
std::vector<StreamPoint> simulate_stream(const StreamPrompts& prompts, std::span<const double> thresholds,
                                         std::size_t orders, std::uint64_t seed);

}  // namespace promptcache
