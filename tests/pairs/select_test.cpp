#include "promptcache/pairs/select.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <random>

#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/pairs/similarity.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

/// Similarities that tell the labels apart to some degree, one in three positive.
struct Scored {
  std::vector<double> similarities, labels;
};

Scored scored(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Scored result;
  for (std::size_t i = 0; i < count; ++i) {
    result.labels.push_back(random() % 3 == 0 ? 1 : 0);
    result.similarities.push_back(static_cast<double>(random() % 10000) / 10000 + 0.3 * result.labels.back());
  }
  return result;
}

double auc_of(const Scored& pairs, const std::vector<std::size_t>& kept) {
  std::vector<double> scores;
  std::vector<std::uint8_t> positive;
  for (const std::size_t i : kept) {
    scores.push_back(pairs.similarities[i]);
    positive.push_back(pairs.labels[i] >= 0.5 ? 1 : 0);
  }
  return roc_auc(scores, positive);
}

std::array<std::size_t, 2> counts_of(const Scored& pairs, const std::vector<std::size_t>& kept) {
  std::array<std::size_t, 2> counts{};
  for (const std::size_t i : kept) ++counts[pairs.labels[i] >= 0.5 ? 1 : 0];
  return counts;
}

}  // namespace

TEST_CASE("the boundary slice alternates labels and pins the AUC to one half") {
  std::mt19937 random(9);
  std::vector<double> similarities, labels;
  for (int i = 0; i < 2000; ++i) {
    labels.push_back(random() % 3 == 0 ? 1 : 0);
    similarities.push_back(static_cast<double>(random() % 10000) / 10000 + 0.3 * labels.back());
  }
  const std::vector<std::size_t> kept = select_boundary(similarities, labels);
  std::vector<double> scores;
  std::vector<std::uint8_t> positive;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    scores.push_back(similarities[kept[i]]);
    positive.push_back(labels[kept[i]] >= 0.5 ? 1 : 0);
    if (i > 0) {
      CHECK(positive[i] != positive[i - 1]);
      CHECK(scores[i] >= scores[i - 1]);
    }
  }
  REQUIRE(kept.size() > 500);
  CHECK(roc_auc(scores, positive) == Approx(0.5).margin(2.0 / static_cast<double>(kept.size())));
  test::require_error(ErrorCode::usage, {"2 values"}, [] {
    select_boundary(std::vector<double>{1, 2}, std::vector<double>{1});
  });
}

TEST_CASE("the stratified selection has as many of each label in each part, and an AUC of about one half") {
  const Scored pairs = scored(20'000, 4);
  const std::vector<std::size_t> kept = select_stratified(pairs.similarities, pairs.labels, 20, 7);
  const std::array<std::size_t, 2> counts = counts_of(pairs, kept);
  CHECK(counts[0] == counts[1]);
  CHECK(auc_of(pairs, kept) == Approx(0.5).margin(0.02));
  CHECK(kept.size() > select_boundary(pairs.similarities, pairs.labels).size());

  // The definition once more: quantiles of the sorted similarities, each balanced, the smaller class whole.
  std::vector<double> sorted = pairs.similarities;
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::size_t> unique = kept;
  std::sort(unique.begin(), unique.end());
  CHECK(std::adjacent_find(unique.begin(), unique.end()) == unique.end());
  double low = sorted.front();
  for (std::size_t stratum = 1; stratum <= 20; ++stratum) {
    const double high =
        stratum == 20 ? 1e9 : *std::upper_bound(sorted.begin(), sorted.end(), sorted[stratum * 1000 - 1]);
    std::array<std::size_t, 2> here{}, all{};
    for (const std::size_t i : kept) {
      if (pairs.similarities[i] >= low && pairs.similarities[i] < high) ++here[pairs.labels[i] >= 0.5 ? 1 : 0];
    }
    for (std::size_t i = 0; i < pairs.labels.size(); ++i) {
      if (pairs.similarities[i] >= low && pairs.similarities[i] < high) ++all[pairs.labels[i] >= 0.5 ? 1 : 0];
    }
    CHECK(here[0] == here[1]);
    CHECK(here[0] == std::min(all[0], all[1]));
    low = high;
  }
  for (std::size_t i = 1; i < kept.size(); ++i) {
    CHECK(pairs.similarities[kept[i]] >= pairs.similarities[kept[i - 1]]);
  }
  CHECK(kept == select_stratified(pairs.similarities, pairs.labels, 20, 7));
  CHECK(kept != select_stratified(pairs.similarities, pairs.labels, 20, 8));
}

TEST_CASE("strata: more than pairs, one, equal similarities, nothing to keep") {
  const Scored pairs = scored(50, 5);
  const std::vector<std::size_t> fine = select_stratified(pairs.similarities, pairs.labels, 1000, 1);
  CHECK(counts_of(pairs, fine)[0] == counts_of(pairs, fine)[1]);
  const std::size_t positives = counts_of(pairs, select_stratified(pairs.similarities, pairs.labels, 1, 1))[1];
  CHECK(positives == static_cast<std::size_t>(std::count(pairs.labels.begin(), pairs.labels.end(), 1.0)));
  // One similarity cannot be cut: it is one part whatever was asked for.
  const std::vector<double> same(9, 0.5);
  const std::vector<double> labels = {1, 0, 1, 0, 0, 0, 0, 0, 0.7};
  CHECK(select_stratified(same, labels, 4, 1).size() == 6);
  CHECK(select_stratified(std::vector<double>{0.1, 0.9}, std::vector<double>{0, 1}, 2, 1).empty());
  CHECK(select_stratified({}, {}, 3, 1).empty());
}

TEST_CASE("a selection refuses what it cannot use") {
  const std::vector<double> two = {0.1, 0.2};
  test::require_error(ErrorCode::usage, {"strata"}, [&] { select_stratified(two, two, 0, 1); });
  test::require_error(ErrorCode::usage, {"2 values"}, [&] { select_stratified(two, std::vector<double>{1}, 2, 1); });
  test::require_error(ErrorCode::numeric, {"pair 2"}, [&] {
    select_stratified(std::vector<double>{0.1, std::nan("")}, two, 2, 1);
  });
  PairFile file{"p.tsv", {}, {}, {{"a", "b", 0.9, 2}, {"c", "d", 0.5, 3}}};
  test::require_error(ErrorCode::format, {"p.tsv", "all 2 pairs", "label 1"}, [&] { require_both_labels(file); });
  file.pairs[0].label = file.pairs[1].label = 0.4;
  test::require_error(ErrorCode::format, {"p.tsv", "label 0"}, [&] { require_both_labels(file); });
  file.pairs[0].label = 0.5;
  require_both_labels(file);
}

TEST_CASE("the stratified selection of real pairs by a real model has an AUC of one half") {
  PROMPTCACHE_REQUIRE_MINILM();
  PROMPTCACHE_REQUIRE_REAL_DATA();
  PairFile file = read_pair_file(test::real_data_directory() + "/qqp_gptcache/pairs.tsv.gz");
  constexpr std::size_t count = 2000;
  for (std::size_t i = 0; i < count; ++i) file.pairs[i] = file.pairs[i * (file.pairs.size() / count)];
  file.pairs.resize(count);
  const auto embedder = TransformerEmbedder::open(test::minilm_directory(), {.precision = Precision::automatic});
  Scored pairs{pair_similarities(*embedder, file.pairs, 2).values, {}};
  std::vector<std::size_t> all;
  for (const Pair& pair : file.pairs) {
    all.push_back(pairs.labels.size());
    pairs.labels.push_back(pair.label);
  }
  CHECK(auc_of(pairs, all) > 0.8);
  const std::vector<std::size_t> kept = select_stratified(pairs.similarities, pairs.labels, 20, 1);
  CHECK(kept.size() > 500);
  CHECK(auc_of(pairs, kept) == Approx(0.5).margin(0.02));
}
