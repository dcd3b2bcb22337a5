#include "promptcache/eval/guard_precision.hpp"

#include <algorithm>

#include "support.hpp"

using namespace promptcache;

TEST_CASE("the precision of guards counts findings by label") {
  const auto guards = Guards::english(
      GuardOptions::all(GuardAction::flag).set(GuardKind::number, GuardStrength::replaced, GuardAction::veto));
  const std::vector<Pair> pairs = {{"cook 5 eggs", "cook 7 eggs", 0, 2},
                                   {"cook 5 eggs", "cook 6 eggs", 0, 3},
                                   {"cook 5 eggs", "cook 8 eggs", 1, 4},
                                   {"cook 5 eggs", "cook five eggs", 1, 5},
                                   {"cook 5 eggs", "cook eggs", 0.5, 6}};
  const GuardPrecision result = guard_precision(*guards, pairs);
  CHECK(result.pairs.negatives == 2);
  CHECK(result.pairs.positives == 3);
  const auto row = [&](GuardKind kind, GuardStrength strength) {
    const auto place = std::find_if(result.rows.begin(), result.rows.end(), [&](const GuardPrecision::Row& candidate) {
      return candidate.kind == kind && candidate.strength == strength;
    });
    REQUIRE(place != result.rows.end());
    return place->count;
  };
  const GuardCount replaced = row(GuardKind::number, GuardStrength::replaced);
  CHECK(replaced.negatives == 2);
  CHECK(replaced.positives == 1);
  CHECK(replaced.precision() == Approx(2.0 / 3));
  CHECK(replaced.precision_bound(0.95) > 0.1);
  CHECK(replaced.precision_bound(0.95) < 2.0 / 3);
  CHECK(row(GuardKind::number, GuardStrength::missing).positives == 1);
  CHECK(row(GuardKind::date, GuardStrength::missing).fired() == 0);
  CHECK(row(GuardKind::date, GuardStrength::missing).precision() == 0);
  CHECK(row(GuardKind::date, GuardStrength::missing).precision_bound(0.95) == 0);
  CHECK(result.any.fired() == 4);
  CHECK(result.vetoed.negatives == 2);
  CHECK(result.vetoed.positives == 1);
}
