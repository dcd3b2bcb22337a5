// What decisions cost: a policy that has learned from 20,000 requests about 500 entries.

#include <benchmark/benchmark.h>

#include <random>

#include "base/random.hpp"
#include "eval/policy_laws.hpp"
#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/per_entry_policy.hpp"
#include "promptcache/policy/verified_policy.hpp"

namespace {

using namespace promptcache;

std::shared_ptr<VerifiedPolicy> verified() {
  VerifiedPolicyOptions options;
  options.epsilon = 0.05;
  return std::make_shared<VerifiedPolicy>(std::make_shared<PlattEvidence>(Calibration{0.05, 16}), options);
}

std::vector<Evidence> evidences() {
  std::mt19937_64 random = base::generator(1, 1);
  std::vector<Evidence> all(4096);
  for (Evidence& evidence : all) {
    evidence.entry = 1 + random() % 500;
    evidence.similarity = 0.6 + 0.4 * base::uniform_share(random);
    evidence.coin = base::uniform_share(random);
  }
  return all;
}

void decide(benchmark::State& state, const std::shared_ptr<CachePolicy>& policy) {
  laws::play(*laws::make("logistic", 1), *policy, 20000, 0.05, 1);
  const std::vector<Evidence> all = evidences();
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(policy->decide(all[i++ % all.size()]).serve);
}

/// Decision, record and, where one is wanted, verdict.
void whole(benchmark::State& state, const std::shared_ptr<CachePolicy>& policy) {
  laws::play(*laws::make("logistic", 1), *policy, 20000, 0.05, 1);
  const std::vector<Evidence> all = evidences();
  std::size_t i = 0;
  for (auto _ : state) {
    const Evidence& evidence = all[i++ % all.size()];
    Decision decision = policy->decide(evidence);
    policy->record(evidence, decision);
    if (decision.audit != 0)
      policy->judged(decision.audit, evidence.similarity < 0.7 ? Verdict::wrong : Verdict::right);
  }
}

BENCHMARK_CAPTURE(decide, verified, verified());
BENCHMARK_CAPTURE(decide, per_entry, std::make_shared<PerEntryPolicy>(0.05));
BENCHMARK_CAPTURE(decide, calibrated,
                  std::make_shared<CalibratedPolicy>(Calibration{0.05, 16},
                                                     CalibratedPolicyOptions{.target_wrong_hits = 0.05}));
BENCHMARK_CAPTURE(whole, verified, verified());

}  // namespace

BENCHMARK_MAIN();
