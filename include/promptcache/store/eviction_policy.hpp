#pragma once

#include <cstddef>
#include <cstdint>

namespace promptcache {

/// What is known about an entry when it is decided which one makes room.
struct EntryUse {
  std::uint64_t last_used = 0;  ///< a count that goes up with every entry stored or served
  std::uint64_t hits = 0;       ///< times it was served
  double cost = 0;              ///< of computing the response, as the caller gave it
  std::size_t bytes = 1;        ///< accounted
  double floor = 0;             ///< highest priority evicted so far: entries begin there, so that old fame fades
};

/// Says which entry goes first: the one of lowest priority. Computed when an entry is stored and when it is served.
class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  /// Pure; O(1). NaN counts as lowest.
  virtual double priority(const EntryUse& use) const = 0;
};

/// What was stored or served longest ago goes first.
class LeastRecentlyUsed : public EvictionPolicy {
 public:
  double priority(const EntryUse& use) const override { return static_cast<double>(use.last_used); }
};

/// What saves least goes first: frequency of use times cost of computing again, for each byte (least expected cost, Zhu
/// et al. 2023; faded as in GreedyDual-Size-Frequency, Cherkasova 1998). An entry without a cost counts as 1.
class LeastExpectedCost : public EvictionPolicy {
 public:
  double priority(const EntryUse& use) const override {
    const double cost = use.cost > 0 ? use.cost : 1;
    return use.floor + static_cast<double>(use.hits + 1) * cost / static_cast<double>(use.bytes > 0 ? use.bytes : 1);
  }
};

}  // namespace promptcache
