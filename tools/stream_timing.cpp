#include "stream_timing.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "promptcache/promptcache.hpp"

namespace tool {
namespace {

using promptcache::Outcome;

struct Times {
  std::vector<double> exact, semantic, miss;  // microseconds
  std::size_t coalesced = 0;
};

LookupTimes summary(std::vector<double> values) {
  const auto percentile = [&](double share) {
    if (values.empty()) return 0.0;
    const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + at, values.end());
    return values[static_cast<std::size_t>(at)];
  };
  return {values.size(), percentile(0.5), percentile(0.99)};
}

void append(std::vector<double>& all, const std::vector<double>& some) {
  all.insert(all.end(), some.begin(), some.end());
}

}  // namespace

StreamTiming time_stream(std::shared_ptr<const promptcache::Embedder> embedder, const promptcache::PromptSet& prompts,
                         std::span<const std::size_t> requests, double tau,
                         const promptcache::StreamCacheOptions& options, std::size_t threads) {
  using Clock = std::chrono::steady_clock;
  promptcache::StoreLimits limits;
  limits.max_entries = options.capacity;
  if (options.eviction == promptcache::Eviction::least_expected_cost) {
    limits.eviction = std::make_shared<promptcache::LeastExpectedCost>();
  }
  promptcache::Cache cache(
      {.embedder = std::move(embedder),
       .policy = std::make_shared<promptcache::ThresholdPolicy>(tau),
       .store = std::make_shared<promptcache::MemoryStore>(promptcache::MemoryStoreOptions{.limits = limits})});
  const promptcache::ScopeId scope = promptcache::Scope().model("simulated");
  std::vector<Times> parts(threads);
  std::atomic<std::size_t> next{0};
  const auto work = [&](Times& times) {
    for (std::size_t i = next++; i < requests.size(); i = next++) {
      const auto begin = Clock::now();
      promptcache::Lookup ticket = cache.lookup({prompts.texts[requests[i]], scope});
      const double us = std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
      if (ticket.in_flight()) ticket.wait();
      if (ticket.miss()) {
        times.miss.push_back(us);
        cache.insert(std::move(ticket), std::string("answer"));
      } else if (ticket.reply().outcome == Outcome::coalesced) {
        ++times.coalesced;
      } else {
        (ticket.reply().outcome == Outcome::exact_hit ? times.exact : times.semantic).push_back(us);
      }
    }
  };
  const auto begin = Clock::now();
  {
    std::vector<std::jthread> helpers;
    for (std::size_t t = 1; t < threads; ++t) helpers.emplace_back([&, t] { work(parts[t]); });
    work(parts[0]);
  }
  StreamTiming timing;
  timing.requests = requests.size();
  timing.threads = threads;
  timing.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  Times all;
  for (const Times& part : parts) {
    append(all.exact, part.exact);
    append(all.semantic, part.semantic);
    append(all.miss, part.miss);
    timing.coalesced += part.coalesced;
  }
  timing.exact = summary(std::move(all.exact));
  timing.semantic = summary(std::move(all.semantic));
  timing.miss = summary(std::move(all.miss));
  return timing;
}

std::string timing_text(const StreamTiming& timing) {
  char line[160];
  std::snprintf(line, sizeof(line), "%zu requests in %.1f s, %zu threads, the encoder included\n", timing.requests,
                timing.seconds, timing.threads);
  std::string text = line;
  std::snprintf(line, sizeof(line), "  %-18s %8s  %8s  %8s of the lookup\n", "", "count", "p50 us", "p99 us");
  text += line;
  const auto row = [&](const char* name, const LookupTimes& times) {
    std::snprintf(line, sizeof(line), "  %-18s %8zu  %8.1f  %8.1f\n", name, times.count, times.p50_us, times.p99_us);
    text += line;
  };
  row("exact hits", timing.exact);
  row("semantic hits", timing.semantic);
  row("misses", timing.miss);
  if (timing.coalesced > 0) {
    std::snprintf(line, sizeof(line), "  %-18s %8zu\n", "coalesced", timing.coalesced);
    text += line;
  }
  return text;
}

nlohmann::ordered_json to_json(const StreamTiming& timing) {
  const auto times = [](const LookupTimes& each) {
    return nlohmann::ordered_json{{"count", each.count}, {"p50_us", each.p50_us}, {"p99_us", each.p99_us}};
  };
  return {{"requests", timing.requests},         {"threads", timing.threads},
          {"seconds", timing.seconds},           {"coalesced", timing.coalesced},
          {"exact_lookup", times(timing.exact)}, {"semantic_lookup", times(timing.semantic)},
          {"miss_lookup", times(timing.miss)}};
}

}  // namespace tool
