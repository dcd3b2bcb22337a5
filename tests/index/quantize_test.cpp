#include "index/quantize.hpp"

#include "allocations.hpp"
#include "index/candidates.hpp"
#include "index/vectors.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/index/flat_index.hpp"
#include "promptcache/index/hnsw_index.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

double exact_dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

TEST_CASE("inner products of codes equal plain sums on every instruction set, at the largest values too") {
  std::mt19937 random(1);
  for (const std::string& isa : available_isas()) {
    const ScopedIsa scope(isa);
    for (const std::size_t stride : {32, 64, 384, 1024, 2048}) {
      for (const bool extreme : {false, true}) {
        const auto value = [&](int most) {
          return extreme ? most : static_cast<int>(random() % static_cast<unsigned>(2 * most + 1)) - most;
        };
        std::vector<std::int16_t> query(stride);
        std::vector<std::int8_t> rows(7 * stride);
        for (std::int16_t& each : query) each = static_cast<std::int16_t>(value(index::largest_query_value(stride)));
        for (std::int8_t& each : rows) each = static_cast<std::int8_t>(value(127));
        std::vector<const std::int8_t*> places;
        for (std::size_t row = 0; row < 7; ++row) places.push_back(&rows[row * stride]);
        float together[7];
        float apart[7];
        index::dot_codes(query.data(), rows.data(), 7, stride, together);
        index::dot_codes_at(query.data(), places.data(), 7, stride, apart);
        for (std::size_t row = 0; row < 7; ++row) {
          std::int64_t sum = 0;
          std::int64_t pair = 0;
          for (std::size_t i = 0; i < stride; ++i) {
            sum += std::int64_t{query[i]} * places[row][i];
            pair += std::int64_t{places[0][i]} * places[row][i];
          }
          CAPTURE(isa, stride, extreme, row);
          CHECK(together[row] == Approx(static_cast<double>(sum)).epsilon(1e-5).margin(1000));
          CHECK(apart[row] == together[row]);
          CHECK(index::active_code_dot()(places[0], places[row], stride) ==
                Approx(static_cast<double>(pair)).epsilon(1e-5).margin(1));
        }
      }
    }
  }
}

TEST_CASE("similarities of codes are off by their slack at most, and it is small") {
  std::mt19937 random(2);
  double widest = 0;
  for (const std::size_t width : {1, 3, 31, 32, 100, 384, 768, 3000}) {
    for (int round = 0; round < 200; ++round) {
      std::vector<float> a = test::unit_vector(width, random);
      std::vector<float> b = test::unit_vector(width, random);
      if (round % 5 == 0) b = a;
      if (round % 7 == 0) a.assign(width, 1 / std::sqrt(static_cast<float>(width)));
      if (round % 11 == 0) b.assign(width, round % 2 == 0 ? 0.F : 1 / std::sqrt(static_cast<float>(width)));
      if (round % 13 == 0) std::fill(a.begin() + 1, a.end(), 1e-20F);
      std::vector<std::int8_t> codes(index::code_stride(width));
      const index::CodeScale scale = index::quantize(b, codes.data());
      index::CodedQuery query;
      query.assign(a);
      float dot = 0;
      index::dot_codes(query.values(), codes.data(), 1, codes.size(), &dot);
      const float slack = query.slack(scale);
      CAPTURE(width, round);
      REQUIRE(std::abs(query.similarity(dot, scale) - exact_dot(a, b)) <= slack);
      if (width == 384) widest = std::max<double>(widest, slack);
    }
  }
  CHECK(widest < 0.02);
}

TEST_CASE("a shortlist keeps every row that may be among the best, and few others") {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (int round = 0; round < 300; ++round) {
    const std::size_t k = 1 + random() % 20;
    const float slack = 0.01F;
    std::vector<float> truth;
    index::Shortlist shortlist;
    shortlist.begin(k);
    for (std::size_t row = 0; row < 200; ++row) {
      truth.push_back(uniform(random));
      shortlist.offer(row, truth.back() + slack * uniform(random), slack);
    }
    std::vector<bool> kept(truth.size());
    std::size_t count = 0;
    shortlist.for_each([&](std::size_t row, float highest) {
      kept[row] = true;
      CHECK(highest >= truth[row]);
      ++count;
    });
    std::vector<float> order = truth;
    std::sort(order.rbegin(), order.rend());
    for (std::size_t row = 0; row < truth.size(); ++row) {
      if (truth[row] >= order[k - 1]) CHECK(kept[row]);
    }
    CHECK(count < k + 30);
  }
}

TEST_CASE("vectors in a file give the results of vectors in memory, and codes alone give nearly them") {
  constexpr std::size_t width = 48;
  const test::TemporaryDirectory directory;
  test::ClusteredVectors vectors(width, 30, 4);
  const VectorStorage in_file{ExactVectors::in_file, directory.path()};
  FlatIndex memory(width);
  FlatIndex file(width, in_file);
  FlatIndex codes(width, {ExactVectors::none, ""});
  HnswIndex graph(width, {.graph_from = 300});
  HnswIndex graph_file(width, {.graph_from = 300, .vectors = in_file});
  HnswIndex graph_codes(width, {.graph_from = 300, .vectors = {ExactVectors::none, ""}});
  const std::vector<SimilarityIndex*> all{&memory, &file, &codes, &graph, &graph_file, &graph_codes};
  for (EntryId id = 0; id < 9000; ++id) {
    const std::vector<float> vector = vectors.next();
    for (SimilarityIndex* index : all) {
      index->add(id, vector);
      if (id % 3 == 2) index->remove(id - 1);
    }
  }
  for (HnswIndex* index : {&graph, &graph_file, &graph_codes}) {
    index->wait_for_rebuild();
    CHECK(index->stats().graph);
    CHECK(index->size() == 6000);
  }
  CHECK(std::filesystem::is_empty(directory.path()));  // the files have no names
  CHECK(graph.bytes_per_entry() > 3 * (graph_codes.bytes_per_entry() - 330));
  for (int round = 0; round < 100; ++round) {
    const std::vector<float> query = vectors.next();
    const std::vector<Candidate> wanted = memory.search(query, 10);
    const std::vector<Candidate> same = file.search(query, 10);
    const std::vector<Candidate> from_graph = graph.search(query, 10);
    const std::vector<Candidate> from_file = graph_file.search(query, 10);
    const std::vector<Candidate> near = codes.search(query, 10);
    const std::vector<Candidate> near_graph = graph_codes.search(query, 10);
    for (std::size_t i = 0; i < 10; ++i) {
      REQUIRE(same[i].id == wanted[i].id);
      REQUIRE(same[i].similarity == wanted[i].similarity);
      REQUIRE(from_file[i].id == from_graph[i].id);
      REQUIRE(from_file[i].similarity == from_graph[i].similarity);
      CHECK(near[i].similarity == Approx(wanted[i].similarity).margin(0.01));
      CHECK(near_graph[i].similarity == Approx(wanted[i].similarity).margin(0.02));
    }
  }
  std::vector<float> vector(width);
  std::vector<float> nearly(width);
  REQUIRE(file.read(3, vector));
  REQUIRE(codes.read(3, nearly));
  for (std::size_t i = 0; i < width; ++i) CHECK(nearly[i] == Approx(vector[i]).margin(0.005));
  test::require_error(ErrorCode::not_found, {directory.file("none")}, [&] {
    FlatIndex(width, {ExactVectors::in_file, directory.file("none")});
  });
}

TEST_CASE("searches take no memory") {
  constexpr std::size_t width = 48;
  test::ClusteredVectors vectors(width, 30, 5);
  FlatIndex flat(width);
  HnswIndex graph(width, {.graph_from = 0});
  for (EntryId id = 0; id < 3000; ++id) {
    const std::vector<float> vector = vectors.next();
    flat.add(id, vector);
    graph.add(id, vector);
  }
  graph.wait_for_rebuild();
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 300; ++i) queries.push_back(vectors.next());
  Candidate found[5];
  const auto search_all = [&] {
    for (const std::vector<float>& query : queries) {
      flat.search(query, std::span(found));
      graph.search(query, std::span(found));
    }
  };
  search_all();
  const std::size_t before = test::allocations();
  search_all();
  CHECK(test::allocations() == before);
}
