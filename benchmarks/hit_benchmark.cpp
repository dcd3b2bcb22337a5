// A hit by meaning from the text to the decision, with the real encoder, and where its time goes.
//
//     hit_benchmark --pairs FILE [--model DIR] [--entries 50000] [--threshold 0.9] [--scorer DIR] [--threads 1]
//
// With a scorer, guards and the scorer look at every best candidate of a similarity above 0.5; the threshold decides.
// Asked are second questions of positive pairs that have about 16 tokens; cached are their first questions and, up to
// the number of entries, those of all other pairs.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <unordered_map>
#include <unordered_set>

#include "promptcache/embed/bulk.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/promptcache.hpp"
#include "promptcache/text/tokenizer.hpp"
#include "times.hpp"

namespace {

using namespace promptcache;

/// The real encoder, but for texts whose vectors are known: filling the cache would take minutes.
class RememberingEmbedder : public Embedder {
 public:
  explicit RememberingEmbedder(std::shared_ptr<const Embedder> embedder) : embedder_(std::move(embedder)) {}
  std::size_t dimension() const override { return embedder_->dimension(); }
  Digest identity() const override { return embedder_->identity(); }
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    const auto found = texts.size() == 1 ? known_.find(std::string(texts[0])) : known_.end();
    if (found == known_.end()) return embedder_->embed(texts, out);
    std::copy(found->second.begin(), found->second.end(), out.begin());
    return {};
  }
  void remember(std::span<const std::string_view> texts) {
    const std::size_t width = dimension();
    std::vector<float> vectors(texts.size() * width);
    embed_all(*embedder_, texts, 2, vectors);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      known_[std::string(texts[i])] = {&vectors[i * width], &vectors[i * width] + width};
    }
  }
  void forget() { known_.clear(); }

 private:
  std::shared_ptr<const Embedder> embedder_;
  std::unordered_map<std::string, std::vector<float>> known_;
};

/// Nothing passes for another while the cache is filled.
class LaterPolicy : public ThresholdPolicy {
 public:
  using ThresholdPolicy::ThresholdPolicy;
  Decision decide(const Evidence& evidence) const override {
    Decision decision = ThresholdPolicy::decide(evidence);
    if (filling) decision.serve = false;
    return decision;
  }
  bool wants_pair_logit(const Evidence& evidence) const override { return !filling && evidence.similarity > 0.5; }
  bool filling = true;
};

std::string option(int argc, char** argv, const char* name, const char* otherwise) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], name) == 0) return argv[i + 1];
  }
  return otherwise;
}

void run(int argc, char** argv) {
  const std::string model = option(argc, argv, "--model", "models/all-MiniLM-L6-v2");
  const std::string pairs_path = option(argc, argv, "--pairs", "");
  const std::size_t entries = std::strtoul(option(argc, argv, "--entries", "50000").c_str(), nullptr, 10);
  const double threshold = std::strtod(option(argc, argv, "--threshold", "0.9").c_str(), nullptr);
  const std::string scorer = option(argc, argv, "--scorer", "");
  if (pairs_path.empty()) throw Error(ErrorCode::usage, {"hit_benchmark"}, "no --pairs FILE", "a pair file");
  const std::vector<Pair> pairs = read_pair_file(pairs_path).pairs;
  const EmbedderOptions engine{
      .parallel_callers = 2,
      .threads_per_call = std::strtoull(option(argc, argv, "--threads", "1").c_str(), nullptr, 10)};
  const auto encoder = TransformerEmbedder::open(model, engine);
  const auto tokenizer = open_tokenizer(ModelDirectory::open(model));
  const auto tokens = [&](const std::string& text) {
    return tokenizer->encode(text, encoder->max_tokens()).ids.size();
  };

  constexpr std::size_t most_asked = 2000;
  std::vector<std::string> asked;
  std::vector<std::string_view> cached;
  std::unordered_set<std::string_view> taken;
  const auto cache_text = [&](std::string_view text) {
    if (cached.size() < entries && taken.insert(text).second) cached.push_back(text);
  };
  for (const Pair& pair : pairs) {
    const std::size_t length = asked.size() < most_asked && pair.positive() ? tokens(pair.q2) : 0;
    if (length < 14 || length > 18 || taken.contains(pair.q2)) continue;
    cache_text(pair.q1);
    taken.insert(pair.q2);
    asked.push_back(pair.q2);
  }
  for (const Pair& pair : pairs) {
    cache_text(pair.q1);
    cache_text(pair.q2);
  }

  const auto embedder = std::make_shared<RememberingEmbedder>(encoder);
  embedder->remember(cached);
  const auto policy = std::make_shared<LaterPolicy>(threshold);
  CacheOptions options{.embedder = embedder, .policy = policy};
  if (!scorer.empty()) {
    options.guards = Guards::english(GuardOptions::all(GuardAction::flag));
    options.pair_scorer = TransformerPairScorer::open(scorer, engine);
  }
  Cache cache(options);
  const ScopeId scope = Scope().tenant("acme").model("llama-3.1-8b").system("You are helpful.");
  for (const std::string_view text : cached) {
    cache.get_or_compute({std::string(text), scope}, [] { return std::string(500, 'r'); });
  }
  embedder->forget();
  policy->filling = false;

  bench::Times tokenizing, hits, misses, exact, embedding, searching, scoring, deciding;
  for (const std::string& text : asked) cache.lookup({text, scope});  // warm
  for (const std::string& text : asked) {
    tokenizing.add([&] { tokens(text); });
    const auto begin = bench::Clock::now();
    const Lookup lookup = cache.lookup({text, scope});
    (lookup.hit() ? hits : misses).us.push_back(bench::microseconds(bench::Clock::now() - begin));
    const Timings& timings = lookup.decision().timings;
    exact.us.push_back(bench::microseconds(timings.exact));
    embedding.us.push_back(bench::microseconds(timings.embed));
    searching.us.push_back(bench::microseconds(timings.search));
    if (timings.score.count() > 0) scoring.us.push_back(bench::microseconds(timings.score));
    deciding.us.push_back(bench::microseconds(timings.decide));
  }
  std::printf("%zu entries, %zu questions of 14 to 18 tokens, %s, threshold %.2f: %zu hits\n", cache.stats().entries,
              asked.size(), to_string(encoder->precision()), threshold, hits.us.size());
  if (!hits.us.empty()) hits.print("hit, text to decision");
  if (!misses.us.empty()) misses.print("miss, text to decision");
  exact.print("  exact tier");
  embedding.print("  embed");
  tokenizing.print("    of it tokenise, measured apart");
  searching.print("  search");
  if (!scoring.us.empty()) scoring.print("  pair scorer");
  deciding.print("  decide");
}

}  // namespace

int main(int argc, char** argv) try {
  run(argc, argv);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "hit_benchmark: " << error.what() << '\n';
  return 1;
}
