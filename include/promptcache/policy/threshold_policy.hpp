#pragma once

#include <string>

#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// Serves when the similarity is strictly above tau (arXiv 2402.01173). Says nothing about how often that is wrong: a
/// threshold means something for one encoder and one kind of prompts only.
class ThresholdPolicy : public CachePolicy {
 public:
  /// Throws `Error`: usage for a tau outside [-1, 1], numeric for NaN.
  explicit ThresholdPolicy(double tau);

  Decision decide(const Evidence& evidence) const override;
  std::string describe() const override;
  std::string parameters() const override;

  double tau() const noexcept { return tau_; }

 private:
  double tau_;
};

}  // namespace promptcache
