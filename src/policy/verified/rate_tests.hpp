#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace promptcache::verified {

/// Evidence, as the capital of a player, against "candidates of this kind are wrong at a rate of at least epsilon".
///
/// A verdict that was asked for with probability q multiplies a stake by 1 + b v (epsilon - X), X = 1 for wrong, where
/// v = q_least / q makes all candidates of the kind count alike, however likely their audit was. Over the coin and the
/// verdict its mean is 1 + b q_least (epsilon - p) <= 1 while the rate p >= epsilon. The stakes are several bets b,
/// each between 0 and 1 / (1 - epsilon), and are laid from a purse a little at a time, so that evidence can grow also
/// after a bad time. All is fixed before the verdict, so the capital is a nonnegative supermartingale from 1, and
/// exceeds 1 / alpha ever with probability at most alpha (Ville): looking all the time costs nothing.
class OpeningTest {
 public:
  static constexpr std::size_t bets = 3;

  void observe(bool wrong, double weight, double epsilon) {
    const double laid = purse_ * (count_ == 0 ? 0.7 : 1 / (count_ + 2));
    purse_ -= laid;
    ++count_;
    for (std::size_t i = 0; i < bets; ++i) {
      const double bet = shares[i] / (1 - epsilon);
      stakes_[i] = (stakes_[i] + laid * weights[i]) * (1 + bet * weight * (epsilon - (wrong ? 1 : 0)));
    }
  }

  double capital() const {
    double sum = purse_;
    for (const double stake : stakes_) sum += stake;
    return sum;
  }

  void restart() { *this = {}; }

  /// Calls `visit` with each number of the state, to keep or to restore it.
  template <class Self, class Visit>
  static void numbers(Self& self, Visit&& visit) {
    visit(self.purse_);
    visit(self.count_);
    for (auto& stake : self.stakes_) visit(stake);
  }

 private:
  static constexpr std::array<double, bets> shares{0.95, 0.6, 0.25};  // of the largest bet
  static constexpr std::array<double, bets> weights{0.5, 0.3, 0.2};

  double purse_ = 1;
  double count_ = 0;
  std::array<double, bets> stakes_{};
};

/// Raises an alarm soon after candidates begin to be wrong at a rate above epsilon: the Shiryaev-Roberts sum, over all
/// times at which that may have begun, of the evidence since then.
///
/// R <- (R + v)(1 + b v (X - epsilon)), with v as above, has R less the sum of v a supermartingale while the rate is at
/// most epsilon, so it takes verdicts of a weight of at least `limit` on average until R reaches `limit` (Shin, Ramdas,
/// Rinaldo 2022, e-detectors). A mixture over bets, each suited to another rate, has the same property. Right verdicts
/// alone bring no R above 1 / (b epsilon).
class Alarm {
 public:
  static constexpr std::size_t bets = 4;

  void observe(bool wrong, double weight, double epsilon) {
    // What each bet is best against: a rate p, with b = (p - epsilon) / (epsilon (1 - epsilon)).
    const std::array<double, bets> rates{std::min(2 * epsilon, (1 + epsilon) / 2),
                                         std::min(5 * epsilon, (1 + epsilon) / 2), std::max(0.3, (1 + epsilon) / 2),
                                         std::max(0.7, (1 + epsilon) / 2)};
    for (std::size_t i = 0; i < bets; ++i) {
      const double bet = (rates[i] - epsilon) / (epsilon * (1 - epsilon));
      sums_[i] = (sums_[i] + weight) * (1 + bet * weight * ((wrong ? 1 : 0) - epsilon));
    }
  }

  double sum() const {
    double sum = 0;
    for (const double each : sums_) sum += each;
    return sum / bets;
  }

  void restart() { *this = {}; }

  template <class Self, class Visit>
  static void numbers(Self& self, Visit&& visit) {
    for (auto& each : self.sums_) visit(each);
  }

 private:
  std::array<double, bets> sums_{};
};

}  // namespace promptcache::verified
