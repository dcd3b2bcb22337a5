#include "promptcache/index/hnsw_index.hpp"

#include <atomic>
#include <iostream>
#include <map>
#include <set>
#include <thread>

#include "index/vectors.hpp"
#include "promptcache/index/flat_index.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

/// Share of the true neighbours found; a neighbour as similar as a true one counts, whatever its id.
double recall(const HnswIndex& index, const FlatIndex& oracle, std::size_t k,
              const std::vector<std::vector<float>>& queries) {
  std::size_t found = 0;
  std::size_t wanted = 0;
  for (const std::vector<float>& query : queries) {
    const std::vector<Candidate> truth = oracle.search(query, k);
    const std::vector<Candidate> answer = index.search(query, k);
    REQUIRE(answer.size() <= k);
    wanted += truth.size();
    for (std::size_t i = 0; i < answer.size(); ++i) {
      if (i > 0) REQUIRE(answer[i].similarity <= answer[i - 1].similarity);
      if (answer[i].similarity >= truth.back().similarity) ++found;
    }
  }
  return static_cast<double>(found) / static_cast<double>(wanted);
}

}  // namespace

// hnswlib locks two nodes at a time, in any order; one graph has one adder at a time here, so nothing can deadlock.
extern "C" const char* __tsan_default_options() { return "detect_deadlocks=0"; }

TEST_CASE("the graph finds what the exact scan finds, before and after churn") {
  constexpr std::size_t width = 32;
  constexpr std::size_t entries = 50'000;
  test::ClusteredVectors vectors(width, 400, 11);
  HnswOptions options;
  options.rebuild_after = 1e9;  // never, in the first half of this test
  HnswIndex index(width, options);
  FlatIndex oracle(width);
  EntryId next = 0;
  const auto add = [&] {
    const std::vector<float> vector = vectors.next();
    index.add(next, vector);
    oracle.add(next, vector);
    ++next;
  };
  for (std::size_t i = 0; i < entries; ++i) add();
  index.wait_for_rebuild();
  REQUIRE(index.stats().graph);
  REQUIRE(index.size() == entries);

  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 400; ++i) queries.push_back(vectors.next());
  const double before1 = recall(index, oracle, 1, queries);
  const double before10 = recall(index, oracle, 10, queries);

  std::vector<EntryId> live(entries);
  for (std::size_t i = 0; i < entries; ++i) live[i] = i;
  const auto churn = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t victim = vectors.random()() % live.size();
      REQUIRE(index.remove(live[victim]));
      REQUIRE(oracle.remove(live[victim]));
      live[victim] = next;
      add();
    }
  };
  churn(entries / 2);
  const double churned1 = recall(index, oracle, 1, queries);
  const double churned10 = recall(index, oracle, 10, queries);
  CAPTURE(before1, before10, churned1, churned10);
  std::cout << "recall at 1 and 10: " << before1 << ", " << before10 << "; after churn of one half " << churned1 << ", "
            << churned10 << std::endl;
  CHECK(before1 >= 0.99);
  CHECK(before10 >= 0.98);
  CHECK(churned1 >= 0.99);
  CHECK(churned10 >= 0.99);
  CHECK(index.size() == entries);
  CHECK(index.stats().nodes <= entries + entries / 2);
  CHECK(index.stats().rebuilds == 1);  // the first graph
}

TEST_CASE("a worn graph is rebuilt in the background, and changes made meanwhile are in the new one") {
  constexpr std::size_t width = 16;
  test::ClusteredVectors vectors(width, 50, 3);
  HnswOptions options;
  options.graph_from = 500;
  options.m = 8;
  options.ef_construction = 50;
  HnswIndex index(width, options);
  FlatIndex oracle(width);
  std::vector<EntryId> live;
  EntryId next = 0;
  for (int round = 0; round < 12'000; ++round) {
    if (live.size() > 2000 || (!live.empty() && vectors.random()() % 4 == 0)) {
      const std::size_t victim = vectors.random()() % live.size();
      REQUIRE(index.remove(live[victim]));
      oracle.remove(live[victim]);
      live[victim] = live.back();
      live.pop_back();
    } else {
      const bool replace = !live.empty() && vectors.random()() % 8 == 0;
      const EntryId id = replace ? live[vectors.random()() % live.size()] : next++;
      const std::vector<float> vector = vectors.next();
      index.add(id, vector);
      oracle.add(id, vector);
      if (!replace) live.push_back(id);
    }
    REQUIRE(index.size() == oracle.size());
    if (round % 3000 == 2999) index.wait_for_rebuild();  // or the changes would all be over before the first is done
  }
  index.wait_for_rebuild();
  const HnswIndex::Stats stats = index.stats();
  CHECK(stats.graph);
  CHECK(stats.rebuilds >= 2);
  CHECK(stats.failed_rebuilds == 0);
  CHECK(stats.nodes - stats.dead_nodes <= live.size());
  // Every entry, asked for by its own vector, is found, and nothing that was removed.
  const std::set<EntryId> alive(live.begin(), live.end());
  std::vector<float> vector(width);
  std::size_t missing = 0;
  for (const EntryId id : live) {
    REQUIRE(oracle.read(id, vector));
    const std::vector<Candidate> found = index.search(vector, 20);
    for (const Candidate& candidate : found) REQUIRE(alive.count(candidate.id) == 1);
    if (found.empty() || found.front().similarity < oracle.search(vector, 1).front().similarity) ++missing;
  }
  CHECK(missing <= live.size() / 100);

  SECTION("and an index that has shrunk goes back to the exact scan") {
    while (live.size() > 100) {
      index.remove(live.back());
      live.pop_back();
    }
    index.wait_for_rebuild();
    CHECK_FALSE(index.stats().graph);
    CHECK(index.size() == 100);
    for (const EntryId id : live) {
      oracle.read(id, vector);
      CHECK(index.search(vector, 1).front().similarity == Approx(1).margin(1e-5));
    }
  }
}

TEST_CASE("a graph with many equal vectors, one entry, none") {
  constexpr std::size_t width = 8;
  HnswOptions options;
  options.graph_from = 0;
  HnswIndex index(width, options);
  std::mt19937 random(4);
  const std::vector<float> same = test::unit_vector(width, random);
  const std::vector<float> other = test::unit_vector(width, random);
  CHECK(index.search(same, 3).empty());
  CHECK_FALSE(index.remove(1));
  for (EntryId id = 0; id < 1000; ++id) index.add(id, same);
  index.add(1000, other);
  CHECK(index.stats().nodes == 2);
  CHECK(index.search(other, 1).front().id == 1000);
  const std::vector<Candidate> found = index.search(same, 5);
  REQUIRE(found.size() == 5);
  for (EntryId id = 0; id < 5; ++id) CHECK(found[id].id == id);
  for (EntryId id = 0; id < 1000; ++id) CHECK(index.remove(id));
  CHECK(index.search(same, 5).size() == 1);
  CHECK(index.remove(1000));
  CHECK(index.search(same, 5).empty());
  index.add(7, same);
  CHECK(index.search(same, 5).front().id == 7);
  CHECK(index.search(same, 0).empty());
  test::require_error(ErrorCode::usage, {"7 values", "8"}, [&] { index.add(1, std::vector<float>(7)); });
  test::require_error(ErrorCode::numeric, {"value 0", "nan"}, [&] { index.search(std::vector<float>(8, NAN), 1); });
  options.m = 1;
  test::require_error(ErrorCode::usage, {"HnswOptions.m", "1"}, [&] { HnswIndex(width, options); });
}

TEST_CASE("searches beside additions, removals and rebuilds see live entries only") {
  constexpr std::size_t width = 16;
  HnswOptions options;
  options.graph_from = 200;
  options.m = 6;
  options.ef_construction = 30;
  options.rebuild_after = 0.5;
  HnswIndex index(width, options);
  std::atomic<EntryId> oldest{0};
  std::atomic<bool> done{false};
  std::thread writer([&] {
    test::ClusteredVectors vectors(width, 20, 5);
    for (EntryId id = 0; id < 4000; ++id) {
      index.add(id, vectors.next());
      if (id < 400) continue;
      index.remove(id - 400);
      oldest = id - 399;  // what is older has been removed by now
      if (id % 1000 == 999) index.wait_for_rebuild();
    }
    done = true;
  });
  std::vector<std::thread> readers;
  std::atomic<std::size_t> dead{0};
  std::atomic<std::size_t> searches{0};
  for (unsigned t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937 random(t);
      do {
        const EntryId limit = oldest;
        for (const Candidate& candidate : index.search(test::unit_vector(width, random), 10)) {
          if (candidate.id < limit) ++dead;
        }
        ++searches;
      } while (!done);
    });
  }
  writer.join();
  for (std::thread& reader : readers) reader.join();
  CHECK(dead == 0);
  CHECK(searches > 0);
  index.wait_for_rebuild();
  CHECK(index.stats().rebuilds >= 2);
}
