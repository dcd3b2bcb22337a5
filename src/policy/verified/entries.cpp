#include "policy/verified/entries.hpp"

#include <algorithm>
#include <cmath>

namespace promptcache::verified {
namespace {

constexpr std::array<double, Entries::shift_count> shifts{-6, -4, -2.5, -1, 0, 1, 2.5, 4, 6};

// Verdicts err, so one alone never rules a shift out.
constexpr double verdict_noise = 0.01;

const Entries::Weights& prior() {
  static const Entries::Weights weights = [] {
    Entries::Weights w{};
    double total = 0;
    for (const double shift : shifts) total += std::exp(-std::abs(shift) / 1.5);
    for (std::size_t i = 0; i < w.size(); ++i) {
      w[i] = std::exp(-std::abs(shifts[i]) / 1.5) / total;
    }
    return w;
  }();
  return weights;
}

const std::array<double, Entries::shift_count>& factors() {
  static const std::array<double, Entries::shift_count> values = [] {
    std::array<double, Entries::shift_count> e{};
    for (std::size_t i = 0; i < e.size(); ++i) e[i] = std::exp(-shifts[i]);
    return e;
  }();
  return values;
}

double odds_against(double probability) {
  constexpr double edge = 1e-9;
  const double p = std::clamp(probability, edge, 1 - edge);
  return (1 - p) / p;
}

}  // namespace

double Entries::score(EntryId entry, double probability) const {
  if (std::isnan(probability)) return probability;
  const auto found = entry == 0 ? known_.end() : known_.find(entry);
  const Weights& weights = found == known_.end() ? prior() : found->second;
  const double odds = odds_against(probability);
  double sum = 0;
  double total = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double weight = weights[i];
    sum += weight / (1 + odds * factors()[i]);
    total += weight;
  }
  return sum / total;
}

void Entries::observe(EntryId entry, double probability, bool wrong) {
  if (entry == 0 || std::isnan(probability) || capacity_ == 0) return;
  const auto [place, added] = known_.try_emplace(entry, prior());
  if (added) {
    by_age_.push_back(entry);
    if (by_age_.size() > capacity_) {
      known_.erase(by_age_.front());
      by_age_.pop_front();
    }
  }
  const double odds = odds_against(probability);
  Weights& weights = place->second;
  double total = 0;
  std::array<double, shift_count> updated{};
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double right = 1 / (1 + odds * factors()[i]);
    const double noisy = right + verdict_noise * (1 - 2 * right);
    updated[i] = weights[i] * (wrong ? 1 - noisy : noisy);
    total += updated[i];
  }
  constexpr double least = 1e-290;  // no underflow: a shift that seems impossible stays possible
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::max(updated[i] / total, least);
}

void Entries::restore(EntryId entry, const Weights& weights) {
  if (known_.insert_or_assign(entry, weights).second) by_age_.push_back(entry);
}

void Entries::clear() {
  known_.clear();
  by_age_.clear();
}

}  // namespace promptcache::verified
