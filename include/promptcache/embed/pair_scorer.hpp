#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "promptcache/base/digest.hpp"

namespace promptcache {

/// Two prompts.
struct TextPair {
  std::string_view first;
  std::string_view second;
};

/// What happened to the pairs of one `score` call.
struct PairReport {
  std::size_t tokens = 0;              ///< tokens run through the encoder
  std::vector<std::size_t> truncated;  ///< positions of pairs longer than the encoder's window
};

/// Reads two prompts together and says how sure it is that one response serves both: slower than comparing their
/// vectors, and better. Implementations are `const` and safe from many threads.
class PairScorer {
 public:
  virtual ~PairScorer() = default;

  /// Changes whenever the same pair could get another score.
  virtual Digest identity() const = 0;

  /// Writes a logit for each pair: 0 is even odds, before any calibration. The order of the two does not matter. Throws
  /// `Error(usage)` when `logits` has another size than `pairs`.
  virtual PairReport score(std::span<const TextPair> pairs, std::span<float> logits) const = 0;

  /// The logit of one pair; a convenience over `score`.
  float score_one(std::string_view first, std::string_view second) const {
    const TextPair pair{first, second};
    float logit = 0;
    score({&pair, 1}, {&logit, 1});
    return logit;
  }
};

}  // namespace promptcache
