#include "promptcache/embed/bulk.hpp"

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

/// A text's vector is its length and its first character. Counts the calls that run together.
class LengthEmbedder : public Embedder {
 public:
  std::size_t dimension() const override { return 2; }
  Digest identity() const override { return {}; }
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    EmbedReport report;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (texts[i] == "bad") throw Error(ErrorCode::numeric, {"here"}, "bad", "good");
      out[2 * i] = static_cast<float>(texts[i].size());
      out[2 * i + 1] = texts[i].empty() ? 0 : static_cast<float>(texts[i][0]);
      if (texts[i].size() > 900) report.truncated.push_back(i);
      report.tokens += texts[i].size();
    }
    largest_call = std::max<std::size_t>(largest_call, texts.size());
    return report;
  }
  mutable std::atomic<std::size_t> largest_call{0};
};

std::vector<std::string> some_texts(std::size_t count) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) {
    texts.emplace_back(i * 7919 % 1000, static_cast<char>('a' + i % 26));
  }
  return texts;
}

}  // namespace

TEST_CASE("many texts are embedded as each alone, each once, in bounded calls") {
  const LengthEmbedder embedder;
  const std::vector<std::string> texts = some_texts(5000);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const std::size_t threads : {1, 4}) {
    std::set<std::size_t> seen;
    std::size_t last = 0;
    bool in_order = true;
    const BulkReport report =
        embed_all(embedder, views, threads,
                  VectorSink([&](std::span<const std::size_t> positions, std::span<const float> vectors) {
                    REQUIRE(vectors.size() == 2 * positions.size());
                    for (std::size_t i = 0; i < positions.size(); ++i) {
                      REQUIRE(seen.insert(positions[i]).second);
                      REQUIRE(vectors[2 * i] == static_cast<float>(texts[positions[i]].size()));
                    }
                  }),
                  [&](const Progress& progress) {
                    in_order = in_order && progress.done > last && progress.total == 5000;
                    last = progress.done;
                  });
    CHECK(in_order);
    CHECK(last == 5000);
    CHECK(seen.size() == 5000);
    CHECK(report.truncated == static_cast<std::size_t>(std::count_if(
                                  texts.begin(), texts.end(), [](const auto& text) { return text.size() > 900; })));
    CHECK(embedder.largest_call <= 64);

    std::vector<float> matrix(2 * texts.size());
    CHECK(embed_all(embedder, views, threads, std::span(matrix)).tokens == report.tokens);
    for (std::size_t i = 0; i < texts.size(); ++i) REQUIRE(matrix[2 * i] == static_cast<float>(texts[i].size()));
  }
  CHECK(embed_all(embedder, {}, 3, std::span<float>()).tokens == 0);
  std::vector<float> small(7);
  test::require_error(ErrorCode::usage, {"7 floats", "5000 x 2"},
                      [&] { embed_all(embedder, views, 1, std::span(small)); });
}

TEST_CASE("what fails in the middle of many texts is thrown, whoever failed") {
  const LengthEmbedder embedder;
  std::vector<std::string> texts = some_texts(2000);
  std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<float> matrix(2 * texts.size());
  for (const std::size_t threads : {1, 4}) {
    CHECK_THROWS_AS(embed_all(embedder, views, threads, std::span(matrix),
                              [](const Progress& progress) {
                                if (progress.done > 500) throw std::runtime_error("enough");
                              }),
                    std::runtime_error);
    CHECK_THROWS_AS(
        embed_all(embedder, views, threads, VectorSink([](std::span<const std::size_t>, std::span<const float>) {
                    throw std::runtime_error("full");
                  })),
        std::runtime_error);
    views[700] = "bad";
    test::require_error(ErrorCode::numeric, {"bad"}, [&] { embed_all(embedder, views, threads, std::span(matrix)); });
    views[700] = texts[700];
  }
}

TEST_CASE("many pairs are scored as each alone") {
  /// A pair's logit is the difference of its lengths.
  class LengthScorer : public PairScorer {
   public:
    Digest identity() const override { return {}; }
    PairReport score(std::span<const TextPair> pairs, std::span<float> logits) const override {
      if (pairs.size() > 64) throw Error(ErrorCode::usage, {"here"}, "more", "64");
      PairReport report;
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        logits[i] = static_cast<float>(pairs[i].first.size()) - static_cast<float>(pairs[i].second.size());
        report.tokens += pairs[i].first.size() + pairs[i].second.size();
        if (pairs[i].first.size() > 900) report.truncated.push_back(i);
      }
      return report;
    }
  };
  const std::vector<std::string> texts = some_texts(1000);
  std::vector<TextPair> pairs;
  std::size_t tokens = 0, longer = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    pairs.push_back({texts[i], texts[(7 * i + 1) % texts.size()]});
    tokens += pairs.back().first.size() + pairs.back().second.size();
    longer += texts[i].size() > 900 ? 1 : 0;
  }
  for (const std::size_t threads : {1, 4}) {
    std::vector<float> logits(pairs.size());
    std::size_t done = 0;
    const BulkReport report =
        score_all(LengthScorer(), pairs, threads, logits, [&](const Progress& progress) { done = progress.done; });
    CHECK(report.tokens == tokens);
    CHECK(report.truncated == longer);
    CHECK(done == pairs.size());
    for (std::size_t i = 0; i < pairs.size(); ++i)
      REQUIRE(logits[i] == LengthScorer().score_one(pairs[i].first, pairs[i].second));
  }
  std::vector<float> small(3);
  test::require_error(ErrorCode::usage, {"3 floats", "1000"}, [&] { score_all(LengthScorer(), pairs, 1, small); });
}
