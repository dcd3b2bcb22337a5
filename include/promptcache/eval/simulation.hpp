#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/eval/stream.hpp"

namespace promptcache {

/// What became of one request.
struct RequestTrace {
  static constexpr std::size_t none = static_cast<std::size_t>(-1);
  std::size_t served = none;  ///< the prompt whose response was served; none for a miss
  bool exact = false;
  bool operator==(const RequestTrace&) const = default;
};

enum class Eviction : std::uint8_t { least_recently_used, least_expected_cost };

/// Bounds of the cache that is simulated.
struct StreamCacheOptions {
  std::size_t capacity = 0;  ///< entries; 0: no bound
  Eviction eviction = Eviction::least_recently_used;
};

/// Sends a stream through a `Cache` of its own: a `ThresholdPolicy(tau)`, an exact index, a `MemoryStore` of this
/// capacity, and an embedder that looks the vectors up. A miss stores a response that names its prompt. With
/// `trace`, one entry a request is appended to it. Safe from many threads at once.
StreamCounts replay_stream(const PromptSet& prompts, const PromptVectors& vectors,
                           std::span<const std::size_t> requests, double tau, const StreamCacheOptions& cache = {},
                           std::vector<RequestTrace>* trace = nullptr);

struct SimulatorOptions {
  std::size_t threads = 1;  ///< to compare the prompts with
  /// Bound on memory, 8 bytes each; more are an `Error(usage)`.
  std::size_t max_neighbours = std::size_t{1} << 26;
  std::string remedy = "fewer prompts, or a higher lowest threshold";  ///< for the message of that error
  ProgressCallback progress = {};
};

/// Foretells what `replay_stream` gives for a cache without bound, decision by decision, at any threshold from
/// `lowest_tau` on, a thousand times faster: all prompts are compared once, and then nothing is searched any more.
class StreamSimulator {
 public:
  /// Keeps a reference to `prompts`. Time O(prompts^2 * dimension).
  StreamSimulator(const PromptSet& prompts, const PromptVectors& vectors, double lowest_tau,
                  const SimulatorOptions& options = {});

  /// Safe from many threads. Throws `Error(usage)` for a tau below `lowest_tau` or NaN.
  StreamCounts run(std::span<const std::size_t> requests, double tau, std::vector<RequestTrace>* trace = nullptr) const;

 private:
  struct Neighbour {
    std::uint32_t prompt;
    float similarity;
  };
  const PromptSet& prompts_;
  double lowest_tau_;
  std::vector<std::vector<Neighbour>> near_;  // of each prompt, the most similar first
};

struct StreamRunOptions {
  StreamCacheOptions cache = {};
  std::size_t threads = 1;  ///< a shuffle each; results do not depend on it
  ProgressCallback progress = {};
  std::string remedy = SimulatorOptions().remedy;
};

/// All shuffles of a plan through the real cache at one threshold.
StreamScore replay_shuffles(const PromptSet& prompts, const PromptVectors& vectors, const StreamPlan& plan, double tau,
                            const StreamRunOptions& options = {});

/// All shuffles at each of these thresholds, rising: by `StreamSimulator` for a cache without bound, otherwise through
/// the real one.
std::vector<StreamScore> sweep_shuffles(const PromptSet& prompts, const PromptVectors& vectors, const StreamPlan& plan,
                                        std::span<const double> taus, const StreamRunOptions& options = {});

}  // namespace promptcache
