#include "promptcache/index/flat_index.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "index/dot.hpp"
#include "index/vectors.hpp"
#include "promptcache/base/isa.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using test::unit_vector;

}  // namespace

TEST_CASE("inner products equal a plain sum on every instruction set and width") {
  std::mt19937 random(1);
  for (const std::string& isa : available_isas()) {
    const ScopedIsa scope(isa);
    for (std::size_t width : {1, 3, 8, 17, 31, 64, 384, 387}) {
      const std::vector<float> query = unit_vector(width, random);
      std::vector<float> rows;
      for (int row = 0; row < 5; ++row) {
        const std::vector<float> vector = unit_vector(width, random);
        rows.insert(rows.end(), vector.begin(), vector.end());
      }
      float out[5];
      index::dot_rows(query.data(), rows.data(), 5, width, out);
      for (std::size_t row = 0; row < 5; ++row) {
        double sum = 0;
        for (std::size_t i = 0; i < width; ++i) sum += static_cast<double>(query[i]) * rows[row * width + i];
        CAPTURE(isa, width, row);
        CHECK(out[row] == Approx(sum).margin(1e-6));
      }
    }
  }
}

TEST_CASE("searches agree with a sorted list through additions, replacements and removals") {
  constexpr std::size_t width = 24;
  std::mt19937 random(2);
  FlatIndex index(width);
  std::map<EntryId, std::vector<float>> model;
  for (int round = 0; round < 2000; ++round) {
    const EntryId id = random() % 400;
    if (random() % 3 == 0) {
      CHECK(index.remove(id) == (model.erase(id) == 1));
    } else {
      // Duplicates under other ids, so that ties occur.
      const std::vector<float> vector =
          !model.empty() && random() % 4 == 0 ? model.begin()->second : unit_vector(width, random);
      index.add(id, vector);
      model[id] = vector;
    }
    if (round % 20 != 0) continue;
    const std::vector<float> query = unit_vector(width, random);
    std::vector<Candidate> wanted;
    for (const auto& [key, vector] : model) {
      float similarity = 0;
      index::dot_rows(query.data(), vector.data(), 1, width, &similarity);
      wanted.push_back({key, similarity});
    }
    std::sort(wanted.begin(), wanted.end(), [](const Candidate& a, const Candidate& b) {
      return a.similarity > b.similarity || (a.similarity == b.similarity && a.id < b.id);
    });
    const std::size_t k = 1 + random() % 12;
    const std::vector<Candidate> found = index.search(query, k);
    REQUIRE(found.size() == std::min(k, model.size()));
    REQUIRE(index.size() == model.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].id == wanted[i].id);
      CHECK(found[i].similarity == wanted[i].similarity);
    }
  }
}

TEST_CASE("empty indexes, k of 0 and beyond the size, and bad vectors") {
  FlatIndex index(2);
  const std::vector<float> x = {1, 0};
  CHECK(index.search(x, 5).empty());
  index.add(7, x);
  CHECK(index.search(x, 0).empty());
  CHECK(index.search(x, 5).size() == 1);
  test::require_error(ErrorCode::usage, {"3 values", "2"}, [&] { index.add(1, std::vector<float>{1, 0, 0}); });
  test::require_error(ErrorCode::numeric, {"value 1", "nan"}, [&] { index.search(std::vector<float>{1, NAN}, 1); });
  test::require_error(ErrorCode::usage, {"dimension"}, [] { FlatIndex(0); });
}

TEST_CASE("searches beside additions and removals see whole entries only") {
  constexpr std::size_t width = 16;
  FlatIndex index(width);
  const std::vector<float> query(width, 0.25F);  // length one
  std::thread writer([&] {
    for (int round = 0; round < 3000; ++round) {
      const auto id = static_cast<EntryId>(round % 50);
      if (round % 3 == 2) {
        index.remove(id);
      } else {
        index.add(id, std::vector<float>(width, round % 2 == 0 ? 0.25F : -0.25F));
      }
    }
  });
  std::vector<std::thread> readers;
  std::atomic<int> torn{0};
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      for (int round = 0; round < 1500; ++round) {
        for (const Candidate& candidate : index.search(query, 10)) {
          if (std::abs(std::abs(candidate.similarity) - 1) > 1e-6F) ++torn;
        }
      }
    });
  }
  writer.join();
  for (std::thread& reader : readers) reader.join();
  CHECK(torn == 0);
}
