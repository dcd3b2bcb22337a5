#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace promptcache::verified {

/// Bounds the number of wrong hits from audits at random, whatever the requests are and in whatever order they come.
///
/// Candidates that the policy takes come one after the other. Each is audited with a probability a (one of a few rates,
/// chosen before its coin is looked at), else served: a hit. X = 1 where the stored response is wrong, p = P(X = 1 |
/// all that was before, and the evidence). For c > 0 with d = (1 - a)(e^c - 1) / a <= 1 take the factor
///
///     e^(c X) for a hit,    1 - d for an audited wrong one,    1 for an audited right one.
///
/// Since the coin does not know X, its mean is (1 - a)(1 - p + p e^c) + a p (1 - d) + a (1 - p) = 1. So the product is
/// a martingale, mixtures over a fixed set of c are too, and by Ville's inequality such a mixture stays below 1 / delta
/// for ever with probability 1 - delta: for all n at once the number W of wrong hits obeys
///
///     sum over c of weight(c) exp(c W + sum over audited wrong ones of log(1 - d)) < 1 / delta,
///
/// that is, W < U for the root U of the left side. With e^(c p) for a hit the mean is at most 1 by convexity, so the
/// same U bounds the sum of p over hits. A c with d > 1 for some rate is given up when a candidate is *offered* at that
/// rate, whatever becomes of it: with p near 1, (1 - a) e^c > 1 even if the audited factor is 0. Rates are chosen
/// without regard to the coming coin, so giving up a c only takes a part of the mixture away.
///
/// An audit counts as wrong from the moment its coin has fallen until a verdict says otherwise, so U holds at every
/// moment and for verdicts that never come. The state is counts, so a verdict takes back exactly what its audit put in.
class Account {
 public:
  static constexpr std::size_t rate_count = 8;

  /// Rates from `start` down to `floor`, by equal ratios; 0 < floor <= start < 1, delta in (0, 1).
  Account(double start, double floor, double delta);

  const std::array<double, rate_count>& rates() const { return rates_; }

  void offer(std::size_t rate);        ///< a candidate is taken, to be audited at this rate or served
  void audit(std::size_t rate);        ///< its coin fell for an audit
  void found_right(std::size_t rate);  ///< ... and the verdict is right
  void found_wrong(std::size_t rate);

  /// U, were a candidate offered at this rate now.
  double bound(std::size_t rate) const { return bounds_[rate]; }
  /// U as it is.
  double bound() const { return bounds_[lowest_]; }
  /// U, were it audited at this rate and wrong.
  double bound_after_wrong(std::size_t rate) const { return bounds_after_wrong_[rate]; }
  /// U with the verdicts that are still out taken as right: what is known.
  double bound_of_known(std::size_t rate) const;

  /// The left side above for W wrong hits, as a logarithm; its mean is at most 0 before anything has happened.
  double log_capital(double wrong_hits) const;

  std::uint64_t wrong() const;    ///< audits found wrong
  std::uint64_t pending() const;  ///< audits without a verdict

  /// The counts, to be kept; the bounds follow from them.
  struct State {
    std::uint64_t lowest = 0;  ///< rate offered so far, the others being higher
    std::array<std::uint64_t, rate_count> wrong{}, pending{};
  };
  State state() const { return {lowest_, wrong_, pending_}; }
  void restore(const State& state);

 private:
  using Counts = std::array<std::uint64_t, rate_count>;

  double solve(std::size_t rate, const Counts& counts) const;
  void update();

  struct Bet {
    double c = 0, log_weight = 0;
    std::size_t last_rate = 0;                // the lowest rate at which it is sound
    std::array<double, rate_count> on_wrong;  // log(1 - d)
  };
  double log_limit_;
  std::array<double, rate_count> rates_{};
  std::vector<Bet> bets_;
  std::size_t lowest_ = 0;
  Counts wrong_{}, pending_{};
  std::array<double, rate_count> bounds_{}, bounds_after_wrong_{};
};

}  // namespace promptcache::verified
