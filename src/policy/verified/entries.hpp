#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <unordered_map>

#include "promptcache/index/similarity_index.hpp"  // EntryId

namespace promptcache::verified {

/// What verdicts have said of single entries: how much better or worse each is than the evidence model thinks, as a
/// distribution over a few shifts of the log odds. A new entry starts from the same prior as all; a right verdict never
/// lowers the score of anything.
class Entries {
 public:
  static constexpr std::size_t shift_count = 9;
  using Weights = std::array<double, shift_count>;

  explicit Entries(std::size_t capacity) : capacity_(capacity) {}

  /// P(right) by the model's `probability` and what is known of the entry.
  double score(EntryId entry, double probability) const;

  void observe(EntryId entry, double probability, bool wrong);

  const std::deque<EntryId>& by_age() const { return by_age_; }
  const Weights& weights(EntryId entry) const { return known_.at(entry); }
  void restore(EntryId entry, const Weights& weights);
  void clear();

 private:
  std::size_t capacity_;
  std::unordered_map<EntryId, Weights> known_;
  std::deque<EntryId> by_age_;  // the oldest is forgotten when there are too many
};

}  // namespace promptcache::verified
