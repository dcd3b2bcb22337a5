#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "promptcache/policy/cache_policy.hpp"

namespace promptcache::laws {

/// One made-up request: its nearest entry, and how likely that entry's response is wrong for it.
struct Request {
  EntryId entry = 0;
  double similarity = 0;
  double wrong = 0;  ///< P(wrong), all that was before given
};

/// How right and wrong come about in a made-up world. Not thread-safe.
class Law {
 public:
  virtual ~Law() = default;
  /// Request `number` of `count`.
  virtual Request next(std::size_t number, std::size_t count, std::mt19937_64& random) = 0;
  /// Tells an adversary what was served.
  virtual void served(const Request& request) { static_cast<void>(request); }
  /// Share of the verdicts that a judge gets wrong.
  virtual double noise() const { return 0; }
};

/// flat, logistic, step, drift, noise, adversary, heavy, mixed, and hopeless (a fifth wrong whatever the similarity).
const std::vector<std::string>& names();

/// Throws `Error(usage)` for another name. `seed` fixes what does not change from request to request.
std::unique_ptr<Law> make(const std::string& name, std::uint64_t seed);

/// What became of one run of a policy. "Mean" is the mean over hits of P(wrong).
struct Run {
  std::size_t requests = 0, hits = 0, wrong = 0, audits = 0, verdicts = 0;
  std::size_t hits_at[2] = {0, 0}, wrong_at[2] = {0, 0};  ///< after 1,000 and 2,000 requests
  double sum = 0;                                         ///< of P(wrong) over hits
  double excess = 0;                                      ///< largest over n of (sum over the first n hits - epsilon n)
  double excess_wrong = 0;                                ///< the same with wrong hits
  double excess_judge = 0;                                ///< the same with P(the judge calls it wrong)
  bool mean_kept = true;                                  ///< at every n the mean is at most epsilon
  bool mean_kept_judge = true;
  bool requests_kept = true;  ///< at every request, sum <= epsilon requests
  double late = 0;            ///< hits in the last fifth
};

/// Sends requests of a law to a policy, with a coin each, and brings it the verdicts it wants, each when `delay` more
/// requests have come. Deterministic.
Run play(Law& law, CachePolicy& policy, std::size_t requests, double epsilon, std::uint64_t seed,
         std::size_t delay = 0);

}  // namespace promptcache::laws
