#pragma once

#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "promptcache/policy/verified_policy.hpp"

namespace test {

inline promptcache::Evidence evidence_of(promptcache::EntryId entry, double similarity, double coin) {
  promptcache::Evidence evidence;
  evidence.entry = entry;
  evidence.similarity = similarity;
  evidence.coin = coin;
  return evidence;
}

/// P = 1/2 at similarity 0.8.
inline std::shared_ptr<promptcache::VerifiedPolicy> make_verified(const promptcache::VerifiedPolicyOptions& options) {
  const promptcache::Calibration calibration{0.05, 16};
  return std::make_shared<promptcache::VerifiedPolicy>(std::make_shared<promptcache::PlattEvidence>(calibration),
                                                       options);
}

/// Requests with similarities in [0.6, 1] about a few hundred entries, judged at once.
class Stream {
 public:
  Stream(promptcache::CachePolicy& policy, std::uint64_t seed)
      : policy_(policy), random_(promptcache::base::generator(seed, 0)) {}

  double draw() { return promptcache::base::uniform_share(random_); }

  template <class Wrong>
  void run(int requests, Wrong&& wrong) {
    for (int i = 0; i < requests; ++i) {
      const auto evidence =
          evidence_of(1 + static_cast<promptcache::EntryId>(300 * draw()), 0.6 + 0.4 * draw(), draw());
      promptcache::Decision decision = policy_.decide(evidence);
      policy_.record(evidence, decision);
      const bool bad = wrong(evidence);
      if (decision.audit == 0) continue;
      policy_.judged(decision.audit, bad ? promptcache::Verdict::wrong : promptcache::Verdict::right);
    }
  }

 private:
  promptcache::CachePolicy& policy_;
  std::mt19937_64 random_;
};

/// An embedder for its identity's sake.
class NoEmbedder : public promptcache::Embedder {
 public:
  std::size_t dimension() const override { return 1; }
  promptcache::Digest identity() const override { return promptcache::sha256("no embedder"); }
  promptcache::EmbedReport embed(std::span<const std::string_view>, std::span<float>) const override { return {}; }
};

}  // namespace test
