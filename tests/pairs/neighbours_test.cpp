#include "promptcache/pairs/neighbours.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "index/dot_tile.hpp"
#include "index/vectors.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/base/isa.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

/// Vectors as of a log: clusters, and some of them twice.
std::vector<float> log_vectors(std::size_t count, std::size_t dimension, unsigned seed) {
  test::ClusteredVectors source(dimension, count / 20 + 1, seed);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) {
    const std::vector<float> vector = source.next();
    values.insert(values.end(), vector.begin(), vector.end());
  }
  return values;
}

float tile_similarity(const PromptVectors& vectors, std::size_t a, std::size_t b) {
  float value = 0;
  index::dot_tile(&vectors.values[a * vectors.dimension], 1, &vectors.values[b * vectors.dimension], 1,
                  vectors.dimension, &value, 1);
  return value;
}

double exact_similarity(const PromptVectors& vectors, std::size_t a, std::size_t b) {
  double sum = 0;
  for (std::size_t i = 0; i < vectors.dimension; ++i) {
    sum += static_cast<double>(vectors.values[a * vectors.dimension + i]) *
           static_cast<double>(vectors.values[b * vectors.dimension + i]);
  }
  return sum;
}

PromptPair pair_of(const PromptVectors& vectors, std::size_t a, std::size_t b) {
  return {static_cast<std::uint32_t>(std::min(a, b)), static_cast<std::uint32_t>(std::max(a, b)),
          std::clamp(tile_similarity(vectors, a, b), -1.0F, 1.0F)};
}

bool before(const PromptPair& a, const PromptPair& b) {
  return std::pair(a.first, a.second) < std::pair(b.first, b.second);
}

/// The definition: for each prompt all others sorted, the first k taken, each pair once.
std::vector<PromptPair> brute_force(const PromptVectors& vectors, std::size_t k) {
  std::vector<PromptPair> pairs;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    std::vector<std::pair<float, std::size_t>> others;
    for (std::size_t j = 0; j < vectors.size(); ++j) {
      if (j != i) others.push_back({-tile_similarity(vectors, i, j), j});
    }
    std::sort(others.begin(), others.end());
    for (std::size_t n = 0; n < k; ++n) pairs.push_back(pair_of(vectors, i, others[n].second));
  }
  std::sort(pairs.begin(), pairs.end(), before);
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return pairs;
}

std::vector<PromptPair> all_pairs_between(const PromptVectors& vectors, float low, float high) {
  std::vector<PromptPair> pairs;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    for (std::size_t j = i + 1; j < vectors.size(); ++j) {
      const float similarity = tile_similarity(vectors, i, j);
      if (similarity >= low && similarity <= high) pairs.push_back(pair_of(vectors, i, j));
    }
  }
  return pairs;
}

/// Blocks of 12 and of 48 prompts, of 252, and one for all.
constexpr std::size_t block_sizes[] = {1, 100'000, 600'000, 64U << 20};

}  // namespace

TEST_CASE("a tile has the inner products, with the same bits wherever a row stands") {
  for (const std::string& isa : available_isas()) {
    const ScopedIsa scope(isa);
    for (const std::size_t width : {1, 3, 8, 33, 384}) {
      const std::vector<float> values = log_vectors(61, width, 3);
      const PromptVectors vectors{values, width};
      std::vector<float> tile(61 * 64, -7.0F);
      index::dot_tile(values.data(), 61, values.data(), 61, width, tile.data(), 64);
      for (std::size_t i = 0; i < 61; ++i) {
        for (std::size_t j = 0; j < 61; ++j) {
          INFO(isa << " " << width << " " << i << " " << j);
          REQUIRE(static_cast<double>(tile[i * 64 + j]) == Approx(exact_similarity(vectors, i, j)).margin(2e-6));
          REQUIRE(tile[i * 64 + j] == tile[j * 64 + i]);
          REQUIRE(tile[i * 64 + j] == tile_similarity(vectors, i, j));
        }
        for (std::size_t j = 61; j < 64; ++j) REQUIRE(tile[i * 64 + j] == -7.0F);
      }
    }
  }
}

TEST_CASE("blocked search finds what a double loop finds, to the bit, whatever blocks and threads") {
  for (const std::size_t count : {2, 3, 13, 47, 253, 611}) {
    const std::vector<float> values = log_vectors(count, 20, static_cast<unsigned>(count));
    const PromptVectors vectors{values, 20};
    for (const std::size_t k : {std::size_t{1}, std::size_t{3}, std::size_t{10}, count - 1}) {
      if (k >= count || k > 100) continue;
      const std::vector<PromptPair> wanted = brute_force(vectors, k);
      for (const std::size_t bytes : block_sizes) {
        for (const std::size_t threads : {1, 3}) {
          INFO(count << " prompts, k " << k << ", " << bytes << " bytes, " << threads << " threads");
          REQUIRE(nearest_pairs(vectors, k, {.threads = threads, .block_bytes = bytes}) == wanted);
        }
      }
    }
  }
}

TEST_CASE("pairs as served: each prompt with the nearest of those before it, and how near the next one is") {
  for (const std::size_t count : {2, 3, 47, 253}) {
    const std::vector<float> values = log_vectors(count, 20, static_cast<unsigned>(count));
    const PromptVectors vectors{values, 20};
    EarlierPairs wanted;
    for (std::uint32_t prompt = 1; prompt < count; ++prompt) {
      std::vector<std::pair<float, std::uint32_t>> others;
      for (std::uint32_t i = 0; i < prompt; ++i) others.push_back({-tile_similarity(vectors, prompt, i), i});
      std::sort(others.begin(), others.end());
      wanted.pairs.push_back({prompt, others[0].second, std::min(-others[0].first, 1.0F)});
      wanted.next.push_back(prompt > 1 ? std::min(-others[1].first, 1.0F) : 7);
    }
    for (const std::size_t bytes : block_sizes) {
      EarlierPairs found = earlier_pairs(vectors, {.threads = 2, .block_bytes = bytes});
      INFO(count << " prompts, " << bytes << " bytes");
      REQUIRE(std::isnan(found.next[0]));
      found.next[0] = 7;  // equal to itself
      REQUIRE(found.pairs == wanted.pairs);
      REQUIRE(found.next == wanted.next);
    }
  }
}

TEST_CASE("pairs as served: how many of the next three hold the response of the nearest") {
  // On a circle, so that prompt 5 finds 4, 3, 2 and 1, in this order.
  std::vector<float> values;
  for (const float angle : {0.0F, 0.1F, 0.2F, 0.3F, 0.4F, 0.5F}) {
    values.insert(values.end(), {std::cos(angle), std::sin(angle)});
  }
  const auto agreements = [&](const std::vector<std::uint32_t>& responses) {
    std::vector<float> found = earlier_pairs({values, 2}, {}, responses).agreement;
    for (float& value : found) value = std::isnan(value) ? -1 : value;
    return found;
  };
  CHECK(earlier_pairs({values, 2}).agreement.empty());
  CHECK(agreements({1, 1, 1, 1, 1, 1}) == std::vector<float>{-1, 1, 1, 1, 1});
  CHECK(agreements({2, 1, 1, 3, 1, 1}) == std::vector<float>{-1, 0, 0.5F, 0, 2 / 3.0F});
  CHECK(agreements({1, 0, 1, 0, 1, 1}) == std::vector<float>{-1, -1, 1, -1, 1});  // nobody knows what was said
  test::require_error(ErrorCode::usage, {"2 responses", "one for each of 6"}, [&] {
    earlier_pairs({values, 2}, {}, std::vector<std::uint32_t>{1, 2});
  });
}

TEST_CASE("equal vectors: ties go by position, and similarities stay in range") {
  std::vector<float> values;
  for (int i = 0; i < 40; ++i) values.insert(values.end(), {0.6F, 0.8F, 0.0F});
  const std::vector<PromptPair> pairs = nearest_pairs({values, 3}, 2, {.threads = 2, .block_bytes = 1});
  std::set<std::pair<std::uint32_t, std::uint32_t>> found;
  for (const PromptPair& pair : pairs) {
    CHECK(pair.similarity <= 1);
    CHECK(pair.similarity > 0.99999F);
    found.insert({pair.first, pair.second});
  }
  std::set<std::pair<std::uint32_t, std::uint32_t>> wanted = {{0, 1}, {0, 2}, {1, 2}};
  for (std::uint32_t i = 3; i < 40; ++i) wanted.insert({{0, i}, {1, i}});
  CHECK(found == wanted);
  CHECK(band_pairs({values, 3}, {.low = 1, .high = 1}).in_band <= 780);
  CHECK(band_pairs({values, 3}, {.low = 0.9999, .high = 1}).in_band == 780);
}

TEST_CASE("a band has all its pairs, and a sample when they are too many") {
  const std::vector<float> values = log_vectors(611, 16, 5);
  const PromptVectors vectors{values, 16};
  const std::vector<PromptPair> wanted = all_pairs_between(vectors, 0.3F, 0.6F);
  REQUIRE(wanted.size() > 1000);
  for (const std::size_t bytes : block_sizes) {
    const BandPairs found = band_pairs(vectors, {.low = 0.3, .high = 0.6}, {.threads = 2, .block_bytes = bytes});
    CHECK(found.pairs == wanted);
    CHECK(found.in_band == wanted.size());
  }
  CHECK(band_pairs(vectors, {.low = -1, .high = 1}).in_band == pair_count(611));
  CHECK(band_pairs(vectors, {.low = 0.9999999, .high = 0.99999991}).pairs.empty());

  const BandOptions some{.low = 0.3, .high = 0.6, .max_pairs = 500, .seed = 3};
  const BandPairs sample = band_pairs(vectors, some, {.threads = 3, .block_bytes = 1});
  CHECK(sample.in_band == wanted.size());
  CHECK(sample.pairs.size() == 500);
  CHECK(std::includes(wanted.begin(), wanted.end(), sample.pairs.begin(), sample.pairs.end(), before));
  CHECK(sample.pairs == band_pairs(vectors, some).pairs);
  BandOptions other = some;
  other.seed = 4;
  CHECK(sample.pairs != band_pairs(vectors, other).pairs);
}

TEST_CASE("a sample is uniform over the pairs of the band") {
  const std::vector<float> values = log_vectors(40, 8, 6);
  const PromptVectors vectors{values, 8};
  std::map<std::pair<std::uint32_t, std::uint32_t>, int> times;
  constexpr int repetitions = 2000;
  for (int seed = 0; seed < repetitions; ++seed) {
    const BandOptions some{.low = -1, .high = 1, .max_pairs = 78, .seed = static_cast<std::uint64_t>(seed)};
    for (const PromptPair& pair : band_pairs(vectors, some).pairs) ++times[{pair.first, pair.second}];
  }
  CHECK(times.size() == 780);  // each of the 780 pairs comes 200 times on average, with a deviation of 13.4
  double chi_square = 0;
  for (const auto& [pair, count] : times) chi_square += (count - 200.0) * (count - 200.0) / 200.0;
  chi_square /= 0.9;  // drawn without replacement
  CHECK(chi_square < 779 + 5 * std::sqrt(2 * 779.0));
  CHECK(chi_square > 779 - 5 * std::sqrt(2 * 779.0));
}

TEST_CASE("strata of a band have equal shares") {
  const std::vector<float> values = log_vectors(611, 16, 5);
  const PromptVectors vectors{values, 16};
  const BandPairs sample = band_pairs(vectors, {.low = 0.2, .high = 0.6, .max_pairs = 401, .strata = 4});
  std::array<std::size_t, 4> counts{};
  for (const PromptPair& pair : sample.pairs) {
    ++counts[std::min<std::size_t>(3, static_cast<std::size_t>((static_cast<double>(pair.similarity) - 0.2) / 0.1))];
  }
  CHECK(counts == std::array<std::size_t, 4>{100, 100, 100, 100});
}

TEST_CASE("random pairs are distinct, in range, and of the seed") {
  const std::vector<float> values = log_vectors(50, 8, 7);
  const PromptVectors vectors{values, 8};
  const std::vector<PromptPair> pairs = random_pairs(vectors, 300, 1);
  CHECK(pairs.size() == 300);
  CHECK(std::is_sorted(pairs.begin(), pairs.end(), before));
  CHECK(std::adjacent_find(pairs.begin(), pairs.end()) == pairs.end());
  for (const PromptPair& pair : pairs) CHECK(pair == pair_of(vectors, pair.first, pair.second));
  CHECK(pairs == random_pairs(vectors, 300, 1));
  CHECK(pairs != random_pairs(vectors, 300, 2));
  CHECK(random_pairs(vectors, 1225, 1) == all_pairs_between(vectors, -2, 2));
  CHECK(random_pairs(vectors, 0, 1).empty());
  test::require_error(ErrorCode::usage, {"1226", "at most 1225"}, [&] { random_pairs(vectors, 1226, 1); });
  CHECK(pair_count(4'294'967'295ULL) == 9'223'372'030'412'324'865ULL);
}

TEST_CASE("the graph finds nearly what all comparisons find, and says how nearly") {
  const std::vector<float> values = log_vectors(3000, 32, 8);
  const PromptVectors vectors{values, 32};
  const std::vector<PromptPair> exact = nearest_pairs(vectors, 3);
  const GraphPairs graph = graph_pairs(vectors, 3, 200, 1, {.threads = 2});
  CHECK(graph.sampled == 200);
  CHECK(graph.recall > 0.95);
  CHECK(graph.recall <= 1);
  std::vector<PromptPair> common;
  std::set_intersection(exact.begin(), exact.end(), graph.pairs.begin(), graph.pairs.end(), std::back_inserter(common),
                        before);
  CHECK(static_cast<double>(common.size()) > 0.95 * static_cast<double>(exact.size()));
  CHECK(graph.pairs == graph_pairs(vectors, 3, 0, 1, {.threads = 1}).pairs);
  // Of a small log all prompts are candidates: nothing is missed.
  const std::vector<float> few = log_vectors(15, 8, 9);
  const GraphPairs small = graph_pairs({few, 8}, 4, 500, 1);
  CHECK(small.pairs == nearest_pairs({few, 8}, 4));
  CHECK(small.recall == 1);
  CHECK(small.sampled == 15);
}

TEST_CASE("a search refuses what it cannot use, and ends when its progress report throws") {
  std::vector<float> values = log_vectors(300, 8, 10);
  const PromptVectors vectors{values, 8};
  test::require_error(ErrorCode::usage, {"300", "1 to 299"}, [&] { nearest_pairs(vectors, 300); });
  test::require_error(ErrorCode::usage, {"k", "0"}, [&] { nearest_pairs(vectors, 0); });
  test::require_error(ErrorCode::usage, {"1 distinct prompt"}, [&] { nearest_pairs({vectors.values.first(8), 8}, 1); });
  test::require_error(ErrorCode::usage, {"0 distinct prompts"}, [&] { band_pairs({{}, 8}, {}); });
  test::require_error(ErrorCode::usage, {"dimension 7"}, [&] { nearest_pairs({vectors.values, 7}, 1); });
  test::require_error(ErrorCode::usage, {"dimension 0"}, [&] { graph_pairs({vectors.values, 0}, 1, 1, 1); });
  test::require_error(ErrorCode::usage, {"band"}, [&] { band_pairs(vectors, {.low = 0.5, .high = 0.4}); });
  test::require_error(ErrorCode::usage, {"band"}, [&] { band_pairs(vectors, {.low = std::nan(""), .high = 1}); });
  test::require_error(ErrorCode::usage, {"strata"}, [&] { band_pairs(vectors, {.max_pairs = 3, .strata = 4}); });

  struct Stop {};
  std::size_t reports = 0;
  const PairSearchOptions stopping{.threads = 2, .block_bytes = 1, .progress = [&](const Progress& progress) {
                                     CHECK(progress.done <= progress.total);
                                     if (++reports == 3) throw Stop();
                                   }};
  CHECK_THROWS_AS(nearest_pairs(vectors, 3, stopping), Stop);
  CHECK(reports == 3);
  reports = 0;
  CHECK_THROWS_AS(graph_pairs(vectors, 3, 10, 1, stopping), Stop);

  values[8 * 17 + 3] = std::numeric_limits<float>::quiet_NaN();
  test::require_error(ErrorCode::numeric, {"prompt 18"}, [&] { nearest_pairs(vectors, 3); });
  test::require_error(ErrorCode::numeric, {"prompt 18"}, [&] { random_pairs(vectors, 3, 1); });
}

TEST_CASE("the cost counts each pair once") {
  const SearchCost cost = nearest_cost(1'000'000, 384, 3, {.threads = 2});
  CHECK(cost.gflop == Approx(384'000));
  CHECK(cost.memory > 1'536'000'000);
  CHECK(cost.memory < 1'700'000'000);
  CHECK(measure_search_rate(384, {.threads = 2}) > 0);
  CHECK(graph_memory(1000, 384) > 384'000);
}

TEST_CASE("pairs are written as TSV, or not at all") {
  const test::TemporaryDirectory directory;
  PromptLog log;
  log.prompts = {{"a b", 3, 1}, {"\xc3\xa4", 1, 2}, {"c", 12, 3}};
  const std::string path = directory.file("out.tsv");
  write_prompt_pairs(path, log, std::vector<PromptPair>{{0, 1, 0.5F}, {1, 2, -0.1F}});
  CHECK(read_file(path) == "q1\tq2\tsimilarity\tcount1\tcount2\na b\t\xc3\xa4\t0.5\t3\t1\n\xc3\xa4\tc\t-0.1\t1\t12\n");
  struct Stop {};
  CHECK_THROWS_AS(
      write_prompt_pairs(path, log, std::vector<PromptPair>{{0, 2, 0.5F}}, {}, [](const Progress&) { throw Stop(); }),
      Stop);
  CHECK(read_file(path).size() > 60);
  CHECK(!std::filesystem::exists(path + ".partial"));
  write_prompt_pairs(path, log, {});
  CHECK(read_file(path) == "q1\tq2\tsimilarity\tcount1\tcount2\n");
  const std::vector<float> next{std::numeric_limits<float>::quiet_NaN(), 0.25F};
  const std::vector<PromptPair> pairs{{1, 0, 0.5F}, {2, 0, 0.75F}};
  write_prompt_pairs(path, log, pairs, std::vector<PairColumn>{{"next_similarity", next}});
  CHECK(read_file(path) ==
        "q1\tq2\tsimilarity\tcount1\tcount2\tnext_similarity\n\xc3\xa4\ta b\t0.5\t1\t3\t\n"
        "c\ta b\t0.75\t12\t3\t0.25\n");
  test::require_error(ErrorCode::usage, {"agreement", "2 values", "one for each of 1"}, [&] {
    write_prompt_pairs(path, log, std::span(pairs).first(1), std::vector<PairColumn>{{"agreement", next}});
  });
}
