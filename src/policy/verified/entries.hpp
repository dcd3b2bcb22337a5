#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <unordered_map>

#include "promptcache/index/similarity_index.hpp"  // EntryId

namespace promptcache::verified {

/// What verdicts have said of single entries: how much better or worse each does than others at the same place, as a
/// distribution over a few shifts of the log odds of being right. A new entry starts from the prior that all share; a
/// right verdict never lowers anything.
class Entries {
 public:
  static constexpr std::size_t shift_count = 9;
  using Weights = std::array<double, shift_count>;

  explicit Entries(std::size_t capacity) : capacity_(capacity) {}

  /// P(right) by the model's `probability`, with its log odds moved by the mean shift of the entry. An order of
  /// candidates, not a calibrated number.
  double score(EntryId entry, double probability) const;

  /// P(wrong) of an entry's candidate, where candidates in general are wrong with probability `wrong_in_general`.
  double wrong(EntryId entry, double wrong_in_general) const;

  void observe(EntryId entry, double wrong_in_general, bool wrong);

  const std::deque<EntryId>& by_age() const { return by_age_; }
  const Weights& weights(EntryId entry) const { return known_.at(entry); }
  void restore(EntryId entry, const Weights& weights);
  void clear();

 private:
  const Weights* find(EntryId entry) const;

  std::size_t capacity_;
  std::unordered_map<EntryId, Weights> known_;
  std::deque<EntryId> by_age_;  // the oldest is forgotten when there are too many
};

}  // namespace promptcache::verified
