#include "promptcache/eval/simulation.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>

#include "base/parallel.hpp"
#include "eval/tally.hpp"
#include "index/dot.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

/// As the cache compares: rounding makes 1.0000001 of equal vectors.
bool above(float similarity, double tau) { return std::min(static_cast<double>(similarity), 1.0) > tau; }

/// Reports units as they get done by several threads.
class SharedProgress {
 public:
  SharedProgress(const ProgressCallback& callback, const char* stage, std::size_t total, const char* unit)
      : callback_(callback), stage_(stage), total_(total), unit_(unit) {}
  void add(std::size_t units) {
    if (!callback_) return;
    const std::lock_guard lock(mutex_);
    done_ += units;
    callback_({stage_, done_, total_, unit_, ""});
  }

 private:
  const ProgressCallback& callback_;
  const char* stage_;
  std::size_t total_;
  const char* unit_;
  std::mutex mutex_;
  std::size_t done_ = 0;
};

void check_tau(double tau, double lowest) {
  if (tau >= lowest && tau <= 1) return;
  throw Error(std::isnan(tau) ? ErrorCode::numeric : ErrorCode::usage, {"tau"}, std::to_string(tau),
              "a number from " + std::to_string(lowest) + " to 1");
}

}  // namespace

StreamSimulator::StreamSimulator(const PromptSet& prompts, const PromptVectors& vectors, double lowest_tau,
                                 const SimulatorOptions& options)
    : prompts_(prompts), lowest_tau_(lowest_tau), near_(prompts.texts.size()) {
  check_tau(lowest_tau, -1);
  const std::size_t n = prompts.texts.size();
  const std::size_t width = vectors.dimension;
  if (width == 0 || prompts.truth.size() != n || vectors.vectors.size() != n * width ||
      n > std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorCode::usage, {"StreamSimulator"},
                std::to_string(n) + " prompts, " + std::to_string(vectors.vectors.size()) + " values",
                "one vector a prompt");
  }
  const auto compared = [&](std::size_t prompt) {
    return vectors.exact_only.empty() || vectors.exact_only[prompt] == 0;
  };
  // A tile of rows stays in the cache of the processor while many prompts are compared with it.
  constexpr std::size_t at_once = 64;
  constexpr std::size_t tile = 256;
  std::atomic<std::size_t> found{0};
  SharedProgress progress(options.progress, "comparing", n, "prompts");
  base::in_parallel((n + at_once - 1) / at_once, options.threads, [&](std::size_t block) {
    const std::size_t begin = block * at_once;
    const std::size_t end = std::min(n, begin + at_once);
    float similarities[tile];
    for (std::size_t row = 0; row < n; row += tile) {
      const std::size_t rows = std::min(tile, n - row);
      for (std::size_t prompt = begin; prompt < end; ++prompt) {
        if (!compared(prompt)) continue;
        const std::size_t before = near_[prompt].size();
        index::dot_rows(vectors.vectors.data() + prompt * width, vectors.vectors.data() + row * width, rows, width,
                        similarities);
        for (std::size_t i = 0; i < rows; ++i) {
          if (!above(similarities[i], lowest_tau) || row + i == prompt || !compared(row + i)) continue;
          near_[prompt].push_back({static_cast<std::uint32_t>(row + i), similarities[i]});
        }
        if ((found += near_[prompt].size() - before) > options.max_neighbours) {
          throw Error(ErrorCode::usage, {"stream of " + std::to_string(n) + " prompts"},
                      "more than " + std::to_string(options.max_neighbours) + " neighbours above a similarity of " +
                          std::to_string(lowest_tau),
                      options.remedy);
        }
      }
    }
    for (std::size_t prompt = begin; prompt < end; ++prompt) {
      near_[prompt].shrink_to_fit();
      std::sort(near_[prompt].begin(), near_[prompt].end(), [](const Neighbour& a, const Neighbour& b) {
        return a.similarity != b.similarity ? a.similarity > b.similarity : a.prompt < b.prompt;
      });
    }
    progress.add(end - begin);
  });
}

StreamCounts StreamSimulator::run(std::span<const std::size_t> requests, double tau,
                                  std::vector<RequestTrace>* trace) const {
  check_tau(tau, lowest_tau_);
  constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();
  std::vector<std::uint32_t> stored_at(near_.size(), absent);
  std::uint32_t stored = 0;
  eval::Tally tally(prompts_.truth, trace);
  for (const std::size_t prompt : requests) {
    if (stored_at[prompt] != absent) {
      tally.exact(prompt);
      continue;
    }
    std::optional<Neighbour> best;  // of equally similar ones the index finds the one that was stored first
    for (const Neighbour& candidate : near_[prompt]) {
      if (!above(candidate.similarity, tau) || (best && candidate.similarity < best->similarity)) break;
      if (stored_at[candidate.prompt] == absent) continue;
      if (!best || stored_at[candidate.prompt] < stored_at[best->prompt]) best = candidate;
    }
    if (best) {
      tally.similar(prompt, best->prompt);
    } else {
      tally.miss(prompt);
      stored_at[prompt] = stored++;
    }
  }
  return tally.counts;
}

StreamScore replay_shuffles(const PromptSet& prompts, const PromptVectors& vectors, const StreamPlan& plan, double tau,
                            const StreamRunOptions& options) {
  std::vector<StreamCounts> counts(plan.shuffles);
  SharedProgress progress(options.progress, "replaying", plan.shuffles, "shuffles");
  base::in_parallel(plan.shuffles, options.threads, [&](std::size_t shuffle) {
    counts[shuffle] =
        replay_stream(prompts, vectors, stream_requests(prompts.truth, plan, shuffle), tau, options.cache);
    progress.add(1);
  });
  return score_of(tau, std::move(counts));
}

std::vector<StreamScore> sweep_shuffles(const PromptSet& prompts, const PromptVectors& vectors, const StreamPlan& plan,
                                        std::span<const double> taus, const StreamRunOptions& options) {
  if (taus.empty()) return {};
  const bool bounded = options.cache.capacity > 0;
  std::optional<StreamSimulator> simulator;
  if (!bounded) {
    simulator.emplace(
        prompts, vectors, *std::min_element(taus.begin(), taus.end()),
        SimulatorOptions{.threads = options.threads, .remedy = options.remedy, .progress = options.progress});
  }
  std::vector<std::vector<StreamCounts>> counts(taus.size(), std::vector<StreamCounts>(plan.shuffles));
  SharedProgress progress(options.progress, "simulating", plan.shuffles * taus.size(), "streams");
  base::in_parallel(plan.shuffles, options.threads, [&](std::size_t shuffle) {
    const std::vector<std::size_t> requests = stream_requests(prompts.truth, plan, shuffle);
    for (std::size_t at = 0; at < taus.size(); ++at) {
      counts[at][shuffle] = bounded ? replay_stream(prompts, vectors, requests, taus[at], options.cache)
                                    : simulator->run(requests, taus[at]);
      progress.add(1);
    }
  });
  std::vector<StreamScore> scores;
  for (std::size_t at = 0; at < taus.size(); ++at) scores.push_back(score_of(taus[at], std::move(counts[at])));
  return scores;
}

}  // namespace promptcache
