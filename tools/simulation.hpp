#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/eval/simulation.hpp"
#include "stream_timing.hpp"

namespace tool {

struct SimulationOptions {
  promptcache::StreamPlan plan;
  promptcache::StreamCacheOptions cache;
  std::optional<double> tau;  ///< otherwise chosen on the other stream
  bool at_worst = false;      ///< choose it as if hits of unknown truth were wrong
  std::vector<double> taus;   ///< of the curves, rising
  bool curve = true;          ///< the scored stream at all of them too
  bool timings = false;
  promptcache::EmbedderOptions embedder;
  std::size_t threads = 1;

  std::optional<double> latency_ms;  ///< of one call of the language model
  std::optional<double> price;       ///< of one such call
  double wrong_hit_cost = 0;         ///< what a wrong hit costs, in such calls
};

/// What hits spare, a shuffle: calls are hits, of known and unknown truth, less `wrong_hit_cost` for each wrong one.
struct Savings {
  double calls = 0;
  double share = 0;                     ///< of the requests
  std::optional<double> seconds, cost;  ///< with a latency, with a price; what lookups take is not subtracted
};

/// One model on the stream.
struct ModelSimulation {
  std::string directory;
  promptcache::StreamScore score;                ///< through the real cache
  std::vector<promptcache::StreamScore> choice;  ///< on the other stream, one a threshold; empty with a tau given
  std::vector<promptcache::StreamScore> curve;   ///< on the scored stream
  std::size_t truncated = 0;                     ///< prompts longer than the encoder's window
  Savings savings;
  std::optional<StreamTiming> timing;
};

struct Simulation {
  std::size_t prompts = 0, components = 0, contradictions = 0;
  ModelSimulation model;
  std::optional<ModelSimulation> baseline;
  std::optional<promptcache::IntervalEstimate> difference;  ///< of the efficiencies, model minus baseline
  std::vector<std::string> notes;
};

/// Throws `Error(usage)` when tau is to be chosen on a stream in which no hit can be right.
ModelSimulation simulate(const std::string& directory, const promptcache::PromptSet& scored,
                         const promptcache::PromptSet* tune, const SimulationOptions& options,
                         const promptcache::ProgressCallback& progress);

/// Adds the difference and the notes on what is undefined.
Simulation compare(const promptcache::PromptSet& scored, const SimulationOptions& options, ModelSimulation model,
                   std::optional<ModelSimulation> baseline);

nlohmann::ordered_json to_json(const Simulation& simulation, const SimulationOptions& options);

/// The table for the terminal.
std::string table_text(const Simulation& simulation, const SimulationOptions& options);

/// One sentence on what the stream is.
std::string plan_text(const Simulation& simulation, const SimulationOptions& options);

}  // namespace tool
