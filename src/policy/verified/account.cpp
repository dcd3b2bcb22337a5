#include "policy/verified/account.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

namespace promptcache::verified {
namespace {

// d of a bet at the lowest rate it is made for. With d = 1 one audited wrong candidate would end the bet.
constexpr double largest_d = 0.75;
constexpr std::size_t small_bets = 5;  // below those of the floor, for accounts of many wrong hits

}  // namespace

Account::Account(double start, double floor, double delta) : log_limit_(-std::log(delta)) {
  for (std::size_t i = 0; i < rate_count; ++i) {
    rates_[i] = start * std::pow(floor / start, static_cast<double>(i) / (rate_count - 1));
  }
  rates_.back() = floor;
  double total = 0;
  for (std::size_t i = 0; i < rate_count + small_bets; ++i) {
    const std::size_t made_for = std::min<std::size_t>(i, rate_count - 1);
    const double scale = std::pow(0.5, static_cast<double>(i - made_for));
    Bet bet;
    bet.c = scale * std::log1p(largest_d * rates_[made_for] / (1 - rates_[made_for]));
    if (!bets_.empty() && bet.c == bets_.back().c) continue;  // floor = start: there is one rate only
    bet.last_rate = made_for;
    while (bet.last_rate + 1 < rate_count &&
           (1 - rates_[bet.last_rate + 1]) * std::expm1(bet.c) / rates_[bet.last_rate + 1] < 1) {
      ++bet.last_rate;
    }
    for (std::size_t r = 0; r < rate_count; ++r) {
      const double d = (1 - rates_[r]) * std::expm1(bet.c) / rates_[r];
      bet.on_wrong[r] = d < 1 ? std::log1p(-d) : -std::numeric_limits<double>::infinity();
    }
    bet.log_weight = 1 / static_cast<double>(i + 3);
    total += bet.log_weight;
    bets_.push_back(bet);
  }
  for (Bet& bet : bets_) bet.log_weight = std::log(bet.log_weight / total);
  update();
}

void Account::offer(std::size_t rate) {
  if (rate <= lowest_) return;
  lowest_ = rate;
  update();
}

void Account::audit(std::size_t rate) {
  ++pending_[rate];
  update();
}

void Account::found_right(std::size_t rate) {
  assert(pending_[rate] > 0);
  --pending_[rate];
  update();
}

void Account::found_wrong(std::size_t rate) {
  assert(pending_[rate] > 0);
  --pending_[rate];
  ++wrong_[rate];  // the bounds have known it all along
}

/// The root of log sum exp(log weight + c U + log D) = log 1 / delta over the bets that are sound at `rate`.
double Account::solve(std::size_t rate, const Counts& counts) const {
  std::array<double, rate_count + small_bets> constants{};
  std::array<double, rate_count + small_bets> slopes{};
  std::size_t count = 0;
  double root = std::numeric_limits<double>::infinity();
  for (const Bet& bet : bets_) {
    if (bet.last_rate < rate) continue;
    double constant = bet.log_weight;
    for (std::size_t r = 0; r <= rate; ++r) {
      if (counts[r] > 0) constant += static_cast<double>(counts[r]) * bet.on_wrong[r];
    }
    root = std::min(root, (log_limit_ - constant) / bet.c);
    constants[count] = constant;
    slopes[count++] = bet.c;
  }
  // Convex and increasing, begun at the right: Newton's steps go down to the root and never pass it. A step that would
  // not go down ends it, so what is returned is never below the root but for rounding.
  for (int i = 0; i < 50; ++i) {
    double sum = 0;
    double slope = 0;
    for (std::size_t j = 0; j < count; ++j) {
      const double term = std::exp(constants[j] + slopes[j] * root - log_limit_);
      sum += term;
      slope += slopes[j] * term;
    }
    const double step = std::log(sum) * sum / slope;
    if (!(step > 1e-9 * (1 + root))) break;
    root -= step;
  }
  return std::max(root, 0.0);
}

void Account::update() {
  Counts counts{};
  for (std::size_t r = 0; r < rate_count; ++r) counts[r] = wrong_[r] + pending_[r];
  for (std::size_t r = 0; r < rate_count; ++r) {
    const std::size_t at = std::max(r, lowest_);
    if (r == 0 || at > lowest_) {
      bounds_[r] = solve(at, counts);
    } else {
      bounds_[r] = bounds_[0];
    }
    Counts after = counts;
    ++after[r];
    bounds_after_wrong_[r] = solve(at, after);
  }
}

double Account::log_capital(double wrong_hits) const {
  double sum = 0;
  for (const Bet& bet : bets_) {
    if (bet.last_rate < lowest_) continue;
    double term = bet.log_weight + bet.c * wrong_hits;
    for (std::size_t r = 0; r <= lowest_; ++r) {
      const std::uint64_t count = wrong_[r] + pending_[r];
      if (count > 0) term += static_cast<double>(count) * bet.on_wrong[r];
    }
    sum += std::exp(term);
  }
  return std::log(sum);
}

double Account::bound_of_known(std::size_t rate) const { return solve(std::max(rate, lowest_), wrong_); }

std::uint64_t Account::wrong() const { return std::accumulate(wrong_.begin(), wrong_.end(), std::uint64_t{0}); }

std::uint64_t Account::pending() const { return std::accumulate(pending_.begin(), pending_.end(), std::uint64_t{0}); }

void Account::restore(const State& state) {
  lowest_ = state.lowest;
  wrong_ = state.wrong;
  pending_ = state.pending;
  update();
}

}  // namespace promptcache::verified
