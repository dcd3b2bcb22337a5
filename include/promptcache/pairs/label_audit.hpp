#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace promptcache {

/// How far two judges agree on yes or no.
struct Agreement {
  std::array<std::array<std::size_t, 2>, 2> counts{};  ///< [first judge][second judge]
  double share = 0;                                    ///< of pairs they agree on; NaN for none
  /// Cohen's kappa: 1 for full agreement, 0 for what chance gives, NaN when both always say the same one thing. The
  /// 95 % interval is from its large-sample variance (Fleiss, Cohen and Everitt 1969); NaN when either judge never
  /// changes, as kappa is 0 then whatever the other says.
  double kappa = 0, kappa_low = 0, kappa_high = 0;

  std::size_t pairs() const noexcept { return counts[0][0] + counts[0][1] + counts[1][0] + counts[1][1]; }
};

Agreement agreement_of(const std::array<std::array<std::size_t, 2>, 2>& counts);

/// A teacher's labels against people's.
struct LabelAudit {
  struct Band {
    double low = 0, high = 0;  ///< similarities of its first and last pair
    Agreement agreement;
  };

  Agreement all;                  ///< counts[human][teacher]
  std::size_t unanswered = 0;     ///< a person judged the pair, the teacher did not
  std::size_t without_human = 0;  ///< the other way round, or neither
  std::vector<Band> bands;        ///< of about equal size, by rising similarity
};

/// Labels are positive from 0.5 on; NaN stands for none. `similarities` may be empty: then there are no bands. Pairs
/// with a NaN similarity are in no band. Throws `Error(usage)` for unequal lengths.
LabelAudit audit_labels(std::span<const double> human, std::span<const double> teacher,
                        std::span<const double> similarities = {}, std::size_t bands = 5);

}  // namespace promptcache
