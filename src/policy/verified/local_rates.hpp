#pragma once

#include <cstddef>
#include <vector>

#include "policy/verified/state_bytes.hpp"

namespace promptcache::verified {

/// How often candidates of about this probability were wrong lately, by the verdicts: a step function of the model's
/// probability that never rises with it (isotonic regression over bins). An estimate that steers, nothing more. A right
/// verdict lowers it everywhere or leaves it.
class LocalRates {
 public:
  /// Takes the bins from the quantiles of these probabilities.
  void fix(std::vector<double> probabilities);
  bool ready() const { return !bins_.empty(); }

  /// Estimated P(wrong); 1 before there are bins.
  double wrong(double probability) const { return ready() ? bins_[bin(probability)].rate : 1; }
  void observe(double probability, bool wrong);

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  struct Bin {
    double least = 0;                // probability
    double verdicts = 1, bad = 0.1;  // with a little that is assumed, and forgotten in time
    double rate = 0.1;
  };
  std::size_t bin(double probability) const;
  void fit();

  std::vector<Bin> bins_;  // from the most probable on; the last has no least
};

}  // namespace promptcache::verified
