#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/policy/guards.hpp"

namespace promptcache {

/// How often something fired on labelled pairs. Right is a veto of a negative pair.
struct GuardCount {
  std::size_t negatives = 0, positives = 0;  ///< pairs it fired on, by label

  std::size_t fired() const noexcept { return negatives + positives; }
  /// Share of negatives among the pairs it fired on; 0 when it never did.
  double precision() const noexcept;
  /// One-sided lower bound of the precision for pairs drawn as these were (Clopper and Pearson); 0 when it never fired.
  double precision_bound(double confidence) const;
  void add(bool positive) noexcept { ++(positive ? positives : negatives); }
};

/// What guards find on labelled pairs.
struct GuardPrecision {
  struct Row {
    GuardKind kind = GuardKind::negation;
    GuardStrength strength = GuardStrength::missing;
    GuardCount count;
  };
  GuardCount pairs;       ///< all pairs: their share of negatives is what a guard must beat
  std::vector<Row> rows;  ///< each kind and strength, by kind, replaced before missing
  GuardCount any;         ///< pairs with a finding of any kind
  GuardCount vetoed;      ///< pairs that the options of the guards veto
};

/// Checks every pair. Linear in the number of pairs.
GuardPrecision guard_precision(const Guards& guards, std::span<const Pair> pairs);

}  // namespace promptcache
