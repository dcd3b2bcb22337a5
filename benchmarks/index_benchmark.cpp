// Time of a search in the scan, in our graph, and in hnswlib as it comes, with recall beside it. Vectors of 384
// dimensions in clusters, one in ten twice.
//
//     index_benchmark --benchmark_filter=50000

#include <benchmark/benchmark.h>
#include <hnswlib/hnswlib.h>

#include <map>
#include <memory>

#include "index/vectors.hpp"
#include "promptcache/index/flat_index.hpp"
#include "promptcache/index/hnsw_index.hpp"

namespace {

constexpr std::size_t width = 384;

struct World {
  std::vector<std::vector<float>> vectors, queries;
  promptcache::FlatIndex flat{width};
  std::unique_ptr<promptcache::HnswIndex> graph;
  hnswlib::InnerProductSpace space{width};
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> plain;
  std::vector<float> best;  // of each query

  explicit World(std::size_t size) {
    test::ClusteredVectors source(width, 400, 11);
    for (std::size_t i = 0; i < size; ++i) vectors.push_back(source.next());
    for (int i = 0; i < 500; ++i) queries.push_back(source.next());
    promptcache::HnswOptions options;
    options.graph_from = 0;
    graph = std::make_unique<promptcache::HnswIndex>(width, options);
    plain = std::make_unique<hnswlib::HierarchicalNSW<float>>(&space, size, options.m, options.ef_construction, 1);
    plain->setEf(options.ef_search);
    for (std::size_t i = 0; i < size; ++i) {
      flat.add(i, vectors[i]);
      graph->add(i, vectors[i]);
      plain->addPoint(vectors[i].data(), i);
    }
    for (const std::vector<float>& query : queries) best.push_back(flat.search(query, 1).front().similarity);
  }

  static World& of(std::int64_t size) {
    static std::map<std::int64_t, std::unique_ptr<World>> worlds;
    auto& world = worlds[size];
    if (!world) world = std::make_unique<World>(static_cast<std::size_t>(size));
    return *world;
  }
};

/// Runs the queries in turn; `search` returns the similarity of the first result.
template <class Search>
void measure(benchmark::State& state, World& world, Search search) {
  std::size_t turn = 0;
  std::size_t found = 0;
  std::size_t asked = 0;
  for (auto _ : state) {
    const std::size_t query = turn++ % world.queries.size();
    found += search(world.queries[query]) >= world.best[query] - 1e-6F ? 1 : 0;
    ++asked;
  }
  state.counters["recall@1"] = static_cast<double>(found) / static_cast<double>(asked);
}

void flat(benchmark::State& state) {
  World& world = World::of(state.range(0));
  measure(state, world, [&](const auto& query) { return world.flat.search(query, 1).front().similarity; });
}

void graph(benchmark::State& state) {
  World& world = World::of(state.range(0));
  measure(state, world, [&](const auto& query) { return world.graph->search(query, 1).front().similarity; });
}

void plain_hnswlib(benchmark::State& state) {
  World& world = World::of(state.range(0));
  measure(state, world, [&](const auto& query) { return 1 - world.plain->searchKnn(query.data(), 1).top().first; });
}

BENCHMARK(flat)->Arg(1000)->Arg(4000)->Arg(50000)->Unit(benchmark::kMicrosecond);
BENCHMARK(graph)->Arg(1000)->Arg(4000)->Arg(50000)->Unit(benchmark::kMicrosecond);
BENCHMARK(plain_hnswlib)->Arg(1000)->Arg(4000)->Arg(50000)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
