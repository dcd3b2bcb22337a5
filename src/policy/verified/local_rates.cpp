#include "policy/verified/local_rates.hpp"

#include <algorithm>
#include <array>
#include <functional>

namespace promptcache::verified {
namespace {

constexpr std::size_t most_bins = 16;
constexpr double window = 256;  // verdicts of a bin, about

}  // namespace

void LocalRates::fix(std::vector<double> probabilities) {
  std::sort(probabilities.begin(), probabilities.end(), std::greater<>());
  bins_.clear();
  for (std::size_t i = 1; i <= most_bins; ++i) {
    Bin bin;
    bin.least = probabilities[i * probabilities.size() / most_bins - 1];
    if (bins_.empty() || bin.least < bins_.back().least) bins_.push_back(bin);
  }
}

std::size_t LocalRates::bin(double probability) const {
  const auto found = std::find_if(bins_.begin(), bins_.end(), [&](const Bin& bin) { return probability >= bin.least; });
  return std::min(static_cast<std::size_t>(found - bins_.begin()), bins_.size() - 1);
}

void LocalRates::observe(double probability, bool wrong) {
  if (!ready()) return;
  Bin& bin = bins_[this->bin(probability)];
  if (bin.verdicts >= window) {
    bin.verdicts /= 2;  // both alike: this forgets and changes no rate
    bin.bad /= 2;
  }
  bin.verdicts += 1;
  bin.bad += wrong ? 1 : 0;
  fit();
}

/// Pools adjacent bins until rates rise from one pool to the next.
void LocalRates::fit() {
  struct Pool {
    double bad, verdicts;
    std::size_t bins;
  };
  std::array<Pool, most_bins> pools{};
  std::size_t count = 0;
  for (const Bin& bin : bins_) {
    Pool pool{bin.bad, bin.verdicts, 1};
    while (count > 0 && pools[count - 1].bad * pool.verdicts >= pool.bad * pools[count - 1].verdicts) {
      --count;
      pool = {pool.bad + pools[count].bad, pool.verdicts + pools[count].verdicts, pool.bins + pools[count].bins};
    }
    pools[count++] = pool;
  }
  std::size_t next = 0;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < pools[i].bins; ++j) bins_[next++].rate = pools[i].bad / pools[i].verdicts;
  }
}

void LocalRates::save(StateWriter& writer) const {
  writer.add(static_cast<std::uint64_t>(bins_.size()));
  for (const Bin& bin : bins_) {
    for (const double number : {bin.least, bin.verdicts, bin.bad, bin.rate}) writer.add(number);
  }
}

void LocalRates::load(StateReader& reader) {
  bins_.resize(reader.count(most_bins));
  for (Bin& bin : bins_) {
    for (double* number : {&bin.least, &bin.verdicts, &bin.bad, &bin.rate}) *number = reader.number();
  }
}

}  // namespace promptcache::verified
