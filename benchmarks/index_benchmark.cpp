// Time of a search in the scan, in our graph, and in hnswlib as it comes, with recall beside it. Vectors of 384
// dimensions in clusters, one in ten twice.
//
//     index_benchmark --benchmark_filter=50000
//     index_benchmark --pipe flat|graph[-none] VECTORS QUERIES ENTRIES    real vectors for compare/index_peers.py,
//                                                                         -none: without the vectors themselves

#include <benchmark/benchmark.h>
#include <hnswlib/hnswlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

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

/// The rows of a file of f32 values, one after the other.
class Rows {
 public:
  explicit Rows(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    if (!file_) throw std::runtime_error("cannot read " + path);
  }

  std::vector<float> next() {
    std::vector<float> row(width);
    if (!file_.read(reinterpret_cast<char*>(row.data()), width * sizeof(float))) {
      throw std::runtime_error(path_ + " has too few rows of " + std::to_string(width) + " values");
    }
    return row;
  }

 private:
  std::string path_;
  std::ifstream file_;
};

/// Returns what the allocator keeps of freed memory, as is done for the peers before their memory is looked at.
void give_back() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

using Clock = std::chrono::steady_clock;

/// A line "build" in, NANOSECONDS out: of adding all entries, until the graph is there. A line "size" in, BYTES out:
/// what the index says an entry takes. Lines "BEGIN END" in, "NANOSECONDS ...<TAB>IDS ..." out: a search for the
/// nearest entry of each of these queries. The first QUERIES rows of the file are queries, the following are entries,
/// which are read one by one, so that what the process grows by is the index.
int answer_pipe(promptcache::SimilarityIndex& index, promptcache::HnswIndex* graph, const std::string& path,
                std::size_t query_count, std::size_t entries) {
  Rows rows(path);
  std::vector<std::vector<float>> queries;
  while (queries.size() < query_count) queries.push_back(rows.next());
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "build") {
      Clock::duration time{};
      for (std::size_t i = 0; i < entries; ++i) {
        const std::vector<float> row = rows.next();
        const auto start = Clock::now();
        index.add(i, row);
        time += Clock::now() - start;
      }
      const auto start = Clock::now();
      if (graph != nullptr) graph->wait_for_rebuild();
      time += Clock::now() - start;
      give_back();
      std::cout << std::chrono::nanoseconds(time).count() << std::endl;
      continue;
    }
    if (line == "size") {
      std::cout << index.bytes_per_entry() << std::endl;
      continue;
    }
    std::istringstream range(line);
    std::size_t begin = 0, end = 0;
    if (!(range >> begin >> end) || end > queries.size()) throw std::runtime_error("not a range of queries: " + line);
    std::string ids;
    promptcache::Candidate best;
    for (std::size_t i = begin; i < end; ++i) {
      const auto start = Clock::now();
      index.search(queries[i], {&best, 1});
      std::cout << std::chrono::nanoseconds(Clock::now() - start).count() << ' ';
      ids += std::to_string(best.id) + ' ';
    }
    std::cout << '\t' << ids << std::endl;
  }
  return 0;
}

int answer_pipe(const std::vector<std::string>& arguments) {
  const std::string kinds = "flat, graph, flat-none or graph-none";
  if (arguments.size() != 4) throw std::runtime_error("wanted --pipe KIND VECTORS QUERIES ENTRIES, KIND: " + kinds);
  const std::size_t queries = std::stoul(arguments[2]);
  const std::size_t entries = std::stoul(arguments[3]);
  std::string kind = arguments[0];
  promptcache::HnswOptions options;
  if (kind.ends_with("-none")) {
    options.vectors.exact = promptcache::ExactVectors::none;
    kind.resize(kind.size() - std::strlen("-none"));
  }
  if (kind == "flat") {
    promptcache::FlatIndex index(width, options.vectors);
    return answer_pipe(index, nullptr, arguments[1], queries, entries);
  }
  if (kind != "graph") throw std::runtime_error("unknown index " + arguments[0] + ", wanted " + kinds);
  promptcache::HnswIndex index(width, options);
  return answer_pipe(index, &index, arguments[1], queries, entries);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc > 1 && std::strcmp(argv[1], "--pipe") == 0) return answer_pipe({argv + 2, argv + argc});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
} catch (const std::exception& error) {
  std::cerr << "index_benchmark: " << error.what() << '\n';
  return 1;
}
