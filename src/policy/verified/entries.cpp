#include "policy/verified/entries.hpp"

#include <algorithm>
#include <cmath>

namespace promptcache::verified {
namespace {

using Numbers = std::array<double, Entries::shift_count>;

constexpr Numbers shifts{-6, -4, -2.5, -1, 0, 1, 2.5, 4, 6};

// Verdicts err, so one alone never rules a shift out.
constexpr double verdict_noise = 0.01;

const Entries::Weights& prior() {
  static const Entries::Weights weights = [] {
    Entries::Weights w{};
    double total = 0;
    for (const double shift : shifts) total += std::exp(-std::abs(shift) / 1.5);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = std::exp(-std::abs(shifts[i]) / 1.5) / total;
    return w;
  }();
  return weights;
}

/// e^shift.
const Numbers& factors() {
  static const Numbers values = [] {
    Numbers e{};
    for (std::size_t i = 0; i < e.size(); ++i) e[i] = std::exp(shifts[i]);
    return e;
  }();
  return values;
}

double odds(double probability) {
  constexpr double edge = 1e-9;
  const double p = std::clamp(probability, edge, 1 - edge);
  return p / (1 - p);
}

double mean_wrong(const Entries::Weights& weights, double odds_of_right) {
  double sum = 0;
  double total = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i] / (1 + odds_of_right * factors()[i]);
    total += weights[i];
  }
  return sum / total;
}

}  // namespace

const Entries::Weights* Entries::find(EntryId entry) const {
  const auto found = entry == 0 ? known_.end() : known_.find(entry);
  return found == known_.end() ? nullptr : &found->second;
}

double Entries::score(EntryId entry, double probability) const {
  const Weights* weights = find(entry);
  if (weights == nullptr || std::isnan(probability)) return probability;
  double mean = 0;
  double total = 0;
  for (std::size_t i = 0; i < weights->size(); ++i) {
    mean += (*weights)[i] * shifts[i];
    total += (*weights)[i];
  }
  const double moved = odds(probability) * std::exp(mean / total);
  return moved / (1 + moved);
}

double Entries::wrong(EntryId entry, double wrong_in_general) const {
  const Weights* weights = find(entry);
  if (weights == nullptr) return wrong_in_general;
  // The prior is wider than some worlds are: only what verdicts have changed in it counts.
  const double odds_of_right = odds(1 - wrong_in_general);
  const double ratio = mean_wrong(*weights, odds_of_right) / mean_wrong(prior(), odds_of_right);
  return std::min(1.0, wrong_in_general * ratio);
}

void Entries::observe(EntryId entry, double wrong_in_general, bool wrong) {
  if (entry == 0 || capacity_ == 0) return;
  const auto [place, added] = known_.try_emplace(entry, prior());
  if (added) {
    by_age_.push_back(entry);
    if (by_age_.size() > capacity_) {
      known_.erase(by_age_.front());
      by_age_.pop_front();
    }
  }
  const double odds_of_right = odds(1 - wrong_in_general);
  Weights& weights = place->second;
  double total = 0;
  Weights updated{};
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double bad = 1 / (1 + odds_of_right * factors()[i]);
    const double noisy = bad + verdict_noise * (1 - 2 * bad);
    updated[i] = weights[i] * (wrong ? noisy : 1 - noisy);
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
