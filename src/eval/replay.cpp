// A stream through the real cache.
#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <unordered_map>

#include "eval/tally.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/cache/cache.hpp"
#include "promptcache/eval/simulation.hpp"
#include "promptcache/index/flat_index.hpp"
#include "promptcache/policy/threshold_policy.hpp"
#include "promptcache/store/memory_store.hpp"

namespace promptcache {
namespace {

/// Looks up vectors that were computed before.
class KnownVectors : public Embedder {
 public:
  KnownVectors(const PromptSet& prompts, const PromptVectors& vectors) : vectors_(vectors) {
    number_of_.reserve(prompts.texts.size());
    for (std::size_t i = 0; i < prompts.texts.size(); ++i) number_of_.emplace(prompts.texts[i], i);
  }
  std::size_t dimension() const override { return vectors_.dimension; }
  Digest identity() const override { return sha256("vectors computed before"); }
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    EmbedReport report;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::size_t number = number_of_.at(texts[i]);
      std::copy_n(vectors_.vectors.data() + number * vectors_.dimension, vectors_.dimension,
                  out.data() + i * vectors_.dimension);
      // The cache treats what is too long and what is unknown alike: exact matches only.
      if (!vectors_.exact_only.empty() && vectors_.exact_only[number] != 0) report.truncated.push_back(i);
    }
    return report;
  }

 private:
  const PromptVectors& vectors_;
  std::unordered_map<std::string_view, std::size_t> number_of_;
};

std::size_t number_in(const std::string& response) {
  std::size_t number = 0;
  std::from_chars(response.data(), response.data() + response.size(), number);
  return number;
}

}  // namespace

StreamCounts replay_stream(const PromptSet& prompts, const PromptVectors& vectors,
                           std::span<const std::size_t> requests, double tau, const StreamCacheOptions& cache_options,
                           std::vector<RequestTrace>* trace) {
  const std::size_t n = prompts.texts.size();
  if (vectors.dimension == 0 || prompts.truth.size() != n || vectors.vectors.size() != n * vectors.dimension) {
    throw Error(ErrorCode::usage, {"replay_stream"},
                std::to_string(n) + " prompts, " + std::to_string(vectors.vectors.size()) + " values",
                "one vector a prompt");
  }
  StoreLimits limits;
  limits.max_entries = cache_options.capacity;
  if (cache_options.eviction == Eviction::least_expected_cost) {
    limits.eviction = std::make_shared<LeastExpectedCost>();
  }
  Cache cache({.embedder = std::make_shared<KnownVectors>(prompts, vectors),
               .policy = std::make_shared<ThresholdPolicy>(tau),
               .store = std::make_shared<MemoryStore>(MemoryStoreOptions{.limits = limits}),
               // Exact, so that what comes out does not hang on a graph that is built in the background.
               .make_index = [](std::size_t dimension) { return std::make_unique<FlatIndex>(dimension); },
               .remembered_decisions = 1});
  eval::Tally tally(prompts.truth, trace);
  for (const std::size_t prompt : requests) {
    Lookup ticket = cache.lookup({.prompt = prompts.texts[prompt]});
    if (ticket.miss()) {
      tally.miss(prompt);
      cache.insert(std::move(ticket), Response{.text = std::to_string(prompt), .cost = 1});
    } else if (ticket.reply().outcome == Outcome::exact_hit) {
      tally.exact(prompt);
    } else {
      tally.similar(prompt, number_in(ticket.reply().response));
    }
  }
  tally.counts.evictions = cache.stats().evictions;
  return tally.counts;
}

}  // namespace promptcache
