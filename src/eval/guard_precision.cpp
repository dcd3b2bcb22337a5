#include "promptcache/eval/guard_precision.hpp"

#include "promptcache/eval/hit_bound.hpp"

namespace promptcache {

double GuardCount::precision() const noexcept {
  return fired() == 0 ? 0 : static_cast<double>(negatives) / static_cast<double>(fired());
}

double GuardCount::precision_bound(double confidence) const {
  return fired() == 0 ? 0 : 1 - binomial_upper_bound(positives, fired(), confidence);
}

GuardPrecision guard_precision(const Guards& guards, std::span<const Pair> pairs) {
  GuardPrecision result;
  for (std::size_t i = 0; i < guard_kind_count; ++i) {
    for (const GuardStrength strength : {GuardStrength::replaced, GuardStrength::missing}) {
      result.rows.push_back({static_cast<GuardKind>(i), strength, {}});
    }
  }
  for (const Pair& pair : pairs) {
    result.pairs.add(pair.positive());
    const GuardFlags flags = guards.flags(pair.q1, pair.q2);
    if (!flags.any()) continue;
    result.any.add(pair.positive());
    if (guards.veto(flags)) result.vetoed.add(pair.positive());
    for (GuardPrecision::Row& row : result.rows) {
      if (flags.has(row.kind, row.strength)) row.count.add(pair.positive());
    }
  }
  return result;
}

}  // namespace promptcache
