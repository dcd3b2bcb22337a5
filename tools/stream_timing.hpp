#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "promptcache/embed/embedder.hpp"
#include "promptcache/eval/simulation.hpp"

namespace tool {

/// How long lookups of one kind took.
struct LookupTimes {
  std::size_t count = 0;
  double p50_us = 0, p99_us = 0;
};

/// A stream served as an application would, the encoder included, by several threads at once.
struct StreamTiming {
  std::size_t requests = 0, threads = 0, coalesced = 0;
  double seconds = 0;
  LookupTimes exact, semantic, miss;
};

/// Sends the stream through a cache with its default index; misses are answered at once. Hits depend on how the threads
/// meet.
StreamTiming time_stream(std::shared_ptr<const promptcache::Embedder> embedder, const promptcache::PromptSet& prompts,
                         std::span<const std::size_t> requests, double tau,
                         const promptcache::StreamCacheOptions& cache, std::size_t threads);

std::string timing_text(const StreamTiming& timing);
nlohmann::ordered_json to_json(const StreamTiming& timing);

}  // namespace tool
