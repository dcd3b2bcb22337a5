#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/pairs/prompt_log.hpp"

namespace promptcache {

/// Unit vectors of the prompts of a log, row-major [size(), dimension]; the values are the caller's.
struct PromptVectors {
  std::span<const float> values;
  std::size_t dimension = 0;

  std::size_t size() const noexcept { return dimension == 0 ? 0 : values.size() / dimension; }
};

/// Two prompts by their positions in the log; `first` is the smaller one, but in `EarlierPairs`.
struct PromptPair {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  float similarity = 0;  ///< cosine, in [-1, 1]

  bool operator==(const PromptPair&) const = default;
};

/// How a search over all pairs of a log runs; nothing of it changes what is found, to the last bit.
struct PairSearchOptions {
  std::size_t threads = 1;                      ///< the caller's included
  std::size_t block_bytes = 64U * 1024 * 1024;  ///< similarities held at a time, by all threads together
  ProgressCallback progress = {};               ///< what it throws ends the search and is thrown
};

/// Each prompt with its `k` most similar ones, ties by position: exact, all pairs compared in f32 (arXiv 2402.01173).
/// A pair found from both sides is there once; in order of positions. Time n^2/2 * dimension multiplications; memory
/// beside the vectors: `block_bytes`, 20 k + 4 bytes a prompt. Throws `Error`: usage when `k` is not in
/// 1 to n-1 or the size is no multiple of the dimension, numeric for NaN or infinity.
std::vector<PromptPair> nearest_pairs(const PromptVectors& vectors, std::size_t k,
                                      const PairSearchOptions& options = {});

/// What a cache of all prompts before it would have found for each prompt but the first: pairs as they are served.
struct EarlierPairs {
  std::vector<PromptPair> pairs;  ///< `first` asked, `second` its nearest one of the earlier ones; in order of `first`
  std::vector<float> next;        ///< similarity of the second nearest, NaN where there is none
  std::vector<float> agreement;   ///< as `Evidence::agreement`; NaN where no response is told; empty without responses
};

/// Exact; ties, time, memory and errors as of `nearest_pairs` with k = 4, but two prompts are enough. `responses`: a
/// number for each prompt, as `Prompt::response`, or nothing.
EarlierPairs earlier_pairs(const PromptVectors& vectors, const PairSearchOptions& options = {},
                           std::span<const std::uint32_t> responses = {});

/// Pairs of a similarity in [low, high].
struct BandOptions {
  double low = 0;
  double high = 1;
  std::size_t max_pairs = 1'000'000;  ///< a uniform sample of so many when there are more
  std::size_t strata = 1;             ///< equal parts of the band, each with an equal share of `max_pairs`; what a part
                                      ///< cannot use is not given to the others
  std::uint64_t seed = 1;             ///< of the sample
};

struct BandPairs {
  std::vector<PromptPair> pairs;  ///< in order of positions
  std::uint64_t in_band = 0;      ///< how many there were
};

/// All pairs of the band, or the sample. Time and errors as `nearest_pairs`; usage too for a band that is none. Memory
/// beside the vectors: `block_bytes`, 24 bytes for each in-band pair of a block and 48 `max_pairs`.
BandPairs band_pairs(const PromptVectors& vectors, const BandOptions& band, const PairSearchOptions& options = {});

/// How many pairs so many prompts make.
std::uint64_t pair_count(std::uint64_t prompts) noexcept;

/// `count` distinct pairs, each set of them as likely as any other; in order of positions. Throws `Error(usage)` when
/// the log has not so many.
std::vector<PromptPair> random_pairs(const PromptVectors& vectors, std::size_t count, std::uint64_t seed);

struct GraphPairs {
  std::vector<PromptPair> pairs;  ///< as of `nearest_pairs`; the similarities are exact, the choice need not be
  double recall = 0;              ///< share of the sampled prompts' neighbours that are as near as the exact ones
  std::size_t sampled = 0;        ///< prompts
};

/// The same by `HnswIndex`, for logs of which all pairs are too many. `sample` prompts drawn by `seed` are searched
/// exactly as well. The graph is built by one thread, in the order of the log, so that the result does not depend on
/// `threads`. Memory beside the vectors: 0.7 KB a prompt at dimension 384. Errors as `nearest_pairs`.
GraphPairs graph_pairs(const PromptVectors& vectors, std::size_t k, std::size_t sample, std::uint64_t seed,
                       const PairSearchOptions& options = {});

/// What `nearest_pairs` takes, before it starts.
struct SearchCost {
  double gflop = 0;        ///< multiplications and additions, 10^9
  std::size_t memory = 0;  ///< bytes, vectors included
};
SearchCost nearest_cost(std::size_t prompts, std::size_t dimension, std::size_t k, const PairSearchOptions& options);

/// Bytes that `graph_pairs` takes beside these.
std::size_t graph_memory(std::size_t prompts, std::size_t dimension);

/// GFLOP a second of `nearest_pairs` here and now, from a search among made-up vectors that takes about 0.1 s.
double measure_search_rate(std::size_t dimension, const PairSearchOptions& options);

/// One value for each pair; NaN is written as an empty cell.
struct PairColumn {
  std::string_view name;
  std::span<const float> values;
};

/// Writes TSV with the columns q1, q2, similarity, count1, count2, and `more`, atomically. Throws usage for columns of
/// another length than `pairs`, and as `AtomicFile` and as `progress`, and leaves no half file.
void write_prompt_pairs(const std::string& path, const PromptLog& log, std::span<const PromptPair> pairs,
                        std::span<const PairColumn> more = {}, const ProgressCallback& progress = {});

}  // namespace promptcache
