#include <algorithm>
#include <mutex>
#include <random>
#include <vector>

#include "base/random.hpp"
#include "index/dot_tile.hpp"
#include "pairs/nearest_lists.hpp"
#include "pairs/similarity_blocks.hpp"
#include "promptcache/index/hnsw_index.hpp"
#include "promptcache/pairs/neighbours.hpp"

namespace promptcache {
namespace {

std::span<const float> vector_of(const PromptVectors& vectors, std::size_t prompt) {
  return vectors.values.subspan(prompt * vectors.dimension, vectors.dimension);
}

HnswOptions graph_options(std::size_t wanted) {
  return {
      .ef_search = std::max<std::size_t>(180, 2 * wanted), .graph_from = 0, .vectors = {.exact = ExactVectors::none}};
}

NearestLists search_graph(const PromptVectors& vectors, std::size_t k, const PairSearchOptions& options) {
  // The graph keeps codes only: they leave a few candidates, and the vectors to tell them apart are here anyway.
  const std::size_t wanted = std::min(vectors.size(), 2 * k + 16);
  HnswIndex graph(vectors.dimension, graph_options(wanted));
  constexpr std::size_t some = 256;
  for (std::size_t prompt = 0; prompt < vectors.size(); ++prompt) {
    graph.add(prompt, vector_of(vectors, prompt));
    const std::size_t done = prompt + 1;
    if (options.progress && (done % some == 0 || done == vectors.size())) {
      options.progress({"building the graph", done, vectors.size(), "prompts", ""});
    }
  }

  NearestLists lists(vectors.size(), k);
  run_tasks((vectors.size() + some - 1) / some, "searching the graph", options, [&](std::size_t task) {
    std::vector<Candidate> candidates(wanted);
    for (std::size_t prompt = task * some; prompt < std::min(vectors.size(), (task + 1) * some); ++prompt) {
      const std::span<const float> vector = vector_of(vectors, prompt);
      const std::size_t found = graph.search(vector, std::span(candidates));
      for (std::size_t i = 0; i < found; ++i) {
        const auto other = static_cast<std::uint32_t>(candidates[i].id);
        if (other == prompt) continue;
        float similarity = 0;
        index::dot_tile(vector.data(), 1, vector_of(vectors, other).data(), 1, vectors.dimension, &similarity, 1);
        lists.offer(prompt, other, similarity);
      }
    }
  });
  return lists;
}

/// The exact neighbours of some of the prompts.
NearestLists search_exactly(const PromptVectors& vectors, const std::vector<std::uint64_t>& prompts, std::size_t k,
                            const PairSearchOptions& options) {
  std::vector<float> rows;
  for (const std::uint64_t prompt : prompts) {
    const std::span<const float> vector = vector_of(vectors, prompt);
    rows.insert(rows.end(), vector.begin(), vector.end());
  }
  NearestLists lists(prompts.size(), k);
  std::mutex mutex;  // of the lists
  const std::size_t side = block_side(vectors.size(), options);
  run_tasks((vectors.size() + side - 1) / side, "checking the graph", options, [&](std::size_t task) {
    const std::size_t begin = task * side;
    const std::size_t columns = std::min(side, vectors.size() - begin);
    std::vector<float> similarities(prompts.size() * columns);
    index::dot_tile(rows.data(), prompts.size(), vectors.values.data() + begin * vectors.dimension, columns,
                    vectors.dimension, similarities.data(), columns);
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        if (begin + j != prompts[i])
          lists.offer(i, static_cast<std::uint32_t>(begin + j), similarities[i * columns + j]);
      }
    }
  });
  return lists;
}

}  // namespace

std::size_t graph_memory(std::size_t prompts, std::size_t dimension) {
  return prompts * HnswIndex(dimension, graph_options(0)).bytes_per_entry();
}

GraphPairs graph_pairs(const PromptVectors& vectors, std::size_t k, std::size_t sample, std::uint64_t seed,
                       const PairSearchOptions& options) {
  check_vectors(vectors);
  check_neighbours(vectors.size(), k);
  const NearestLists lists = search_graph(vectors, k, options);
  GraphPairs result;
  result.pairs = pairs_of(lists);
  result.sampled = std::min(sample, vectors.size());
  if (result.sampled == 0) return result;
  std::mt19937_64 random(seed);
  const std::vector<std::uint64_t> prompts = base::draw_distinct(random, result.sampled, vectors.size());
  const NearestLists exact = search_exactly(vectors, prompts, k, options);
  std::size_t as_near = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const float worst = exact.of(i).back().similarity;
    for (const Neighbour& neighbour : lists.of(prompts[i])) {
      if (neighbour.there() && neighbour.similarity >= worst) ++as_near;
    }
  }
  result.recall = static_cast<double>(as_near) / static_cast<double>(prompts.size() * k);
  return result;
}

}  // namespace promptcache
