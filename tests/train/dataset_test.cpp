#include "train/dataset.hpp"

#include <map>
#include <set>

#include "promptcache/model/model_directory.hpp"
#include "promptcache/pairs/split.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using namespace promptcache::train;

std::vector<Pair> chain(const std::string& name, std::size_t count, std::size_t per_question = 1) {
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < count; ++i) {
    pairs.push_back({name + " " + std::to_string(i / per_question), name + " other " + std::to_string(i),
                     i % 2 == 0 ? 1.0 : 0.0, i + 2});
  }
  return pairs;
}

Dataset dataset_of(const std::vector<WeightedPairs>& sets) {
  const ModelDirectory model = ModelDirectory::open(test::data_file("tiny_bert"));
  return make_dataset(sets, *open_tokenizer(model), "", 32);
}

}  // namespace

TEST_CASE("an epoch has as many pairs of each set as its weight says") {
  const std::vector<Pair> a = chain("a", 40), b = chain("b", 100), c = chain("c", 7);
  const Dataset data = dataset_of({{&a}, {&b, 0.5}, {&c, 1.0}});
  CHECK(data.pairs_an_epoch() == 40 + 20 + 40);
  for (const std::size_t epoch : {1, 2, 7}) {
    std::map<std::size_t, std::size_t> counts;  // of items
    std::size_t sums[3] = {};
    for (const std::size_t item : epoch_items(data, 5, epoch)) {
      ++counts[item];
      ++sums[item < 40 ? 0 : item < 140 ? 1 : 2];
    }
    CHECK(sums[0] == 40);
    CHECK(sums[1] == 20);
    CHECK(sums[2] == 40);
    for (const auto& [item, count] : counts) CHECK(count <= (item < 140 ? 1 : 7));
  }
}

TEST_CASE("a set smaller or larger than its part of an epoch is gone through in whole passes") {
  const std::vector<Pair> a = chain("a", 40), b = chain("b", 100);
  const Dataset data = dataset_of({{&a}, {&b, 0.5}});
  std::set<std::size_t> seen;
  for (std::size_t epoch = 1; epoch <= 5; ++epoch) {
    for (const std::size_t item : epoch_items(data, 5, epoch)) {
      if (item >= 40) CHECK(seen.insert(item).second);  // 5 epochs of 20: each of the 100 once
    }
  }
  CHECK(seen.size() == 100);
  CHECK(epoch_items(data, 5, 1) == epoch_items(data, 5, 1));
  CHECK(epoch_items(data, 5, 1) != epoch_items(data, 6, 1));
}

TEST_CASE("batches of an epoch hold its items, each once") {
  const std::vector<Pair> a = chain("a", 45);
  const Dataset data = dataset_of({{&a}});
  std::multiset<std::size_t> in_batches;
  for (const auto& batch : epoch_batches(data, 8, 1, 3)) in_batches.insert(batch.begin(), batch.end());
  const std::vector<std::size_t> items = epoch_items(data, 1, 3);
  CHECK(in_batches == std::multiset<std::size_t>(items.begin(), items.end()));
}

TEST_CASE("smaller shares are part of larger ones and cut no component of questions") {
  const std::vector<Pair> pairs = chain("q", 300, 3);  // components of three pairs
  const auto lines = [](const std::vector<Pair>& some) {
    std::set<std::size_t> result;
    for (const Pair& pair : some) result.insert(pair.line);
    return result;
  };
  std::set<std::size_t> smaller;
  for (const double share : {0.1, 0.25, 0.5, 1.0}) {
    const std::vector<Pair> part = nested_share(pairs, share);
    CHECK(static_cast<double>(part.size()) == Approx(share * 300).margin(3));
    const std::set<std::size_t> larger = lines(part);
    CHECK(std::includes(larger.begin(), larger.end(), smaller.begin(), smaller.end()));
    smaller = larger;
    std::map<std::string, std::size_t> counts;
    for (const Pair& pair : part) ++counts[pair.q1];
    for (const auto& [question, count] : counts) CHECK(count == 3);
  }
}

TEST_CASE("texts that positive pairs link are of one group") {
  const std::vector<Pair> pairs = {{"a", "b", 1, 2}, {"b", "c", 0.6, 3}, {"c", "d", 0.4, 4}, {"e", "a", 0, 5}};
  const std::vector<std::size_t> groups = positive_groups(dataset_of({{&pairs}}));
  REQUIRE(groups.size() == 5);  // a b c d e
  CHECK(groups[0] == groups[1]);
  CHECK(groups[1] == groups[2]);
  CHECK(groups[3] != groups[0]);
  CHECK(groups[4] != groups[0]);
}

TEST_CASE("a part of a data set has the same texts and labels under new numbers") {
  const std::vector<Pair> a = chain("a", 40, 4);
  const Dataset data = dataset_of({{&a}});
  const std::vector<std::size_t> items = {17, 3, 18, 16};  // three share their first text
  const Dataset part = part_of(data, items);
  CHECK(part.texts.size() == 6);
  REQUIRE(part.items.size() == items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Dataset::Item& whole = data.items[items[i]];
    CHECK(part.texts[part.items[i].first] == data.texts[whole.first]);
    CHECK(part.texts[part.items[i].second] == data.texts[whole.second]);
    CHECK(part.items[i].label == whole.label);
  }
  CHECK(part.pairs_an_epoch() == 4);
}
