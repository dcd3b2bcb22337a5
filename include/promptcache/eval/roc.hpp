#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace promptcache {

/// Exact area under the ROC curve: P(score of a positive > score of a negative) + half the ties. O(n log n).
/// `positive[i]` is nonzero for a positive. NaN when one class is missing. Throws `Error(usage)` for unequal lengths
/// and `Error(numeric)` for a score that is not finite.
double roc_auc(std::span<const double> scores, std::span<const std::uint8_t> positive);

/// An estimate with a two-sided 95 % interval.
struct IntervalEstimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

/// AUC with DeLong's 95 % interval on the logit scale (DeLong et al. 1988), which stays inside [0, 1]. At an AUC of
/// exactly 0 or 1, where the variance estimate vanishes, the far end is the exact one-sided binomial bound for the
/// smaller class. Empty when a class has fewer than two members. Pairs are taken as independent; pairs that share a
/// question are not quite, which makes the interval a little too narrow.
std::optional<IntervalEstimate> roc_auc_interval(std::span<const double> scores,
                                                 std::span<const std::uint8_t> positive);

/// Difference of two AUCs measured on the same pairs.
struct AucDifference {
  IntervalEstimate auc;  ///< first minus second
  double p_value = 1;    ///< two-sided, for the hypothesis of equal AUCs
};

/// Paired DeLong test of `first` against `second`. Empty as `roc_auc_interval`.
std::optional<AucDifference> roc_auc_difference(std::span<const double> first, std::span<const double> second,
                                                std::span<const std::uint8_t> positive);

}  // namespace promptcache
