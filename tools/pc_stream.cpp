#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <thread>

#include "progress_bar.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/promptcache.hpp"
#include "stream.hpp"
#include "tool.hpp"

namespace {

using promptcache::Outcome;

struct Options {
  std::string model, pairs, valid, json;
  std::optional<double> threshold;
  double again = 0.25;
  std::uint64_t seed = 1;
  std::size_t threads = 1;
};

struct Counts {
  std::size_t requests = 0, exact = 0, right = 0, wrong = 0, coalesced = 0, misses = 0;
  std::vector<double> exact_us, semantic_us, miss_us;  // of the lookups
  double seconds = 0;
};

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

/// The prompts in random order, and a share of the requests once more, word for word, after all of them were seen.
std::vector<std::size_t> order_of(std::size_t prompts, const Options& options) {
  std::vector<std::size_t> order(prompts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937_64 random(options.seed);
  for (std::size_t i = prompts; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  const auto again = static_cast<std::size_t>(options.again * static_cast<double>(prompts));
  for (std::size_t i = 0; i < again; ++i) order.push_back(order[random() % prompts]);
  return order;
}

/// Sends the stream through a cache. The "language model" answers with the group of the prompt, so that a served
/// response shows whether it was meant for this question.
Counts serve(const tool::Stream& stream, promptcache::Cache& cache, const Options& options) {
  using Clock = std::chrono::steady_clock;
  const std::vector<std::size_t> order = order_of(stream.texts.size(), options);
  const promptcache::ScopeId scope = promptcache::Scope().model("simulated");
  std::vector<Counts> parts(options.threads);
  std::atomic<std::size_t> next{0};
  const auto work = [&](Counts& counts) {
    for (std::size_t i = next++; i < order.size(); i = next++) {
      const std::string answer = std::to_string(stream.prompts.group[order[i]]);
      const auto begin = Clock::now();
      promptcache::Lookup ticket = cache.lookup({stream.texts[order[i]], scope});
      const double us = std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
      if (ticket.in_flight()) ticket.wait();
      ++counts.requests;
      if (ticket.miss()) {
        ++counts.misses;
        counts.miss_us.push_back(us);
        cache.insert(std::move(ticket), answer);
      } else if (ticket.reply().outcome == Outcome::exact_hit) {
        ++counts.exact;
        counts.exact_us.push_back(us);
      } else if (ticket.reply().outcome == Outcome::coalesced) {
        ++counts.coalesced;
      } else {
        ++(ticket.reply().response == answer ? counts.right : counts.wrong);
        counts.semantic_us.push_back(us);
      }
    }
  };
  const auto begin = Clock::now();
  std::vector<std::thread> helpers;
  for (std::size_t t = 1; t < options.threads; ++t) helpers.emplace_back([&, t] { work(parts[t]); });
  work(parts[0]);
  for (std::thread& helper : helpers) helper.join();
  Counts sum = std::move(parts[0]);
  sum.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  for (std::size_t t = 1; t < parts.size(); ++t) {
    const Counts& part = parts[t];
    sum.requests += part.requests;
    sum.exact += part.exact;
    sum.right += part.right;
    sum.wrong += part.wrong;
    sum.coalesced += part.coalesced;
    sum.misses += part.misses;
    sum.exact_us.insert(sum.exact_us.end(), part.exact_us.begin(), part.exact_us.end());
    sum.semantic_us.insert(sum.semantic_us.end(), part.semantic_us.begin(), part.semantic_us.end());
    sum.miss_us.insert(sum.miss_us.end(), part.miss_us.begin(), part.miss_us.end());
  }
  return sum;
}

void print(const Counts& counts, const std::string& policy) {
  std::printf("%zu requests in %.1f s, %s\n", counts.requests, counts.seconds, policy.c_str());
  std::printf("                        count    p50 us    p99 us of the lookup\n");
  const auto row = [](const char* name, std::size_t count, const std::vector<double>& us) {
    std::printf("  %-18s %8zu  %8.1f  %8.1f\n", name, count, percentile(us, 0.5), percentile(us, 0.99));
  };
  row("exact hits", counts.exact, counts.exact_us);
  row("semantic hits", counts.right + counts.wrong, counts.semantic_us);
  std::printf("    right            %8zu\n    wrong            %8zu\n", counts.right, counts.wrong);
  if (counts.coalesced > 0) std::printf("  coalesced          %8zu\n", counts.coalesced);
  row("misses", counts.misses, counts.miss_us);
}

nlohmann::ordered_json to_json(const Counts& counts, double threshold) {
  const auto times = [](const std::vector<double>& us) {
    return nlohmann::ordered_json{{"p50_us", percentile(us, 0.5)}, {"p99_us", percentile(us, 0.99)}};
  };
  return {{"requests", counts.requests},
          {"threshold", threshold},
          {"exact_hits", counts.exact},
          {"semantic_hits_right", counts.right},
          {"semantic_hits_wrong", counts.wrong},
          {"coalesced", counts.coalesced},
          {"misses", counts.misses},
          {"seconds", counts.seconds},
          {"exact_lookup", times(counts.exact_us)},
          {"semantic_lookup", times(counts.semantic_us)},
          {"miss_lookup", times(counts.miss_us)}};
}

int stream(const Options& options) {
  constexpr std::size_t most_prompts = 20'000;
  constexpr std::size_t most_simulated = 4000;
  const auto embedder = promptcache::TransformerEmbedder::open(options.model, {.parallel_callers = options.threads});
  const promptcache::PairFile pairs = promptcache::read_pair_file(options.pairs);
  tool::ProgressBar bar;
  const tool::Stream prompts = tool::make_stream(*embedder, pairs.pairs, most_prompts, options.threads, bar.callback());
  double threshold = options.threshold.value_or(0);
  if (!options.threshold) {
    const promptcache::PairFile valid = promptcache::read_pair_file(options.valid);
    const tool::Stream chooses =
        tool::make_stream(*embedder, valid.pairs, most_simulated, options.threads, bar.callback());
    threshold = tool::sweep_stream(chooses, chooses).chosen.threshold;
  }
  bar.finish();
  promptcache::Cache cache({.embedder = embedder, .policy = std::make_shared<promptcache::ThresholdPolicy>(threshold)});
  const Counts counts = serve(prompts, cache, options);
  print(counts, promptcache::ThresholdPolicy(threshold).describe());
  if (!options.json.empty()) {
    promptcache::write_file_atomically(options.json, to_json(counts, threshold).dump(2) + "\n");
  }
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Sends the prompts of labelled pairs through a cache and counts right and wrong hits and the time of a lookup.\n"
      "Example: pc-stream --model models/tuned --pairs test.tsv --valid valid.tsv",
      "pc-stream"};
  Options options;
  app.add_option("--model", options.model, "model directory")->required();
  app.add_option("--pairs", options.pairs, "pairs whose prompts make the stream; positive ones share a response")
      ->required();
  auto* from = app.add_option_group("threshold", "where the threshold comes from");
  from->add_option("--threshold", options.threshold, "serve above this similarity")->check(CLI::Range(-1.0, 1.0));
  from->add_option("--valid", options.valid, "choose the threshold that is most efficient on these pairs' prompts");
  from->require_option(1);
  app.add_option("--again", options.again, "share of the prompts asked once more, word for word")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--seed", options.seed, "seed of the order")->capture_default_str();
  app.add_option("--threads", options.threads, "threads that ask")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--json", options.json, "write the counts to this file");
  return tool::run(app, argc, argv, [&] { return stream(options); });
}
