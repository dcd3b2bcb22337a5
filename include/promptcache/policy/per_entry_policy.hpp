#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// The rule of vCache (arXiv 2502.03771), from its published formulas, to compare with: each entry learns from its own
/// verdicts alone. With fewer than 6 it is explored, that is, the response is computed and judged; else its verdicts
/// give P(right | s) = sigma(gamma (s - t)), and with the error bound `delta` it is explored with probability
///
///     min over e of  1 - delta / (1 - alpha(e)),   alpha(e) = (1 - e) sigma(gamma (s - t - quantile(1 - e) sd(t)))
///
/// for 50 values of e in (0, 1), served otherwise. The promise is of wrong hits among all requests.
///
/// Where verdicts are separated by similarity no maximum of the likelihood exists; then t lies below the least similar
/// right one by about what the next right one would be expected to lie below it, m = (1 - s) / (rights + 1), or half
/// way to the most similar wrong one where that is nearer; sd(t) = m, gamma = 4 / m. This is a choice of ours.
///
/// Thread-safe; `decide` takes about a microsecond.
class PerEntryPolicy : public CachePolicy {
 public:
  /// Throws `Error(usage)` for a delta outside (0, 1).
  explicit PerEntryPolicy(double delta);
  ~PerEntryPolicy() override;

  Decision decide(const Evidence& evidence) const override;
  bool audits() const override { return true; }
  void record(const Evidence& evidence, Decision& decision) override;
  void judged(std::uint64_t audit, Verdict verdict) override;
  std::string describe() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
