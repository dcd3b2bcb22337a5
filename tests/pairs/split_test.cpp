#include "promptcache/pairs/split.hpp"

#include <map>
#include <random>

#include "support.hpp"

namespace {

using namespace promptcache;

std::vector<Pair> random_pairs(std::size_t count, std::size_t questions, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < count; ++i) {
    Pair pair;
    pair.q1 = "question " + std::to_string(random() % questions);
    pair.q2 = "Question  " + std::to_string(random() % questions) + "?";
    pair.label = random() % 3 == 0 ? 1 : 0;
    pairs.push_back(pair);
  }
  return pairs;
}

}  // namespace

TEST_CASE("questions count as the same over case, edge punctuation and spaces") {
  CHECK(normalized_question("  How  do I\tpay? ") == "how do i pay");
  CHECK(normalized_question("'How do I pay'") == "how do i pay");
  CHECK(normalized_question("???").empty());
}

TEST_CASE("no question is on two sides, and shares and labels come out as asked") {
  const std::vector<Pair> pairs = random_pairs(3000, 4000, 1);
  const std::vector<Side> sides = split_by_component(pairs, {7, 1, 2}, 42);
  std::map<std::string, Side> side_of;
  std::map<Side, double> count, positives;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    for (const std::string& question : {pairs[i].q1, pairs[i].q2}) {
      CHECK(side_of.try_emplace(normalized_question(question), sides[i]).first->second == sides[i]);
    }
    count[sides[i]] += 1;
    positives[sides[i]] += pairs[i].label;
  }
  CHECK(sides == split_by_component(pairs, {7, 1, 2}, 42));
  CHECK(sides != split_by_component(pairs, {7, 1, 2}, 43));
  // One giant component of random links may take up a side; shares are checked on pairs that share nothing.
  std::vector<Pair> lone;
  for (std::size_t i = 0; i < 1000; ++i) {
    lone.push_back({"a" + std::to_string(i), "b" + std::to_string(i), i % 4 == 0 ? 1.0 : 0.0, i});
  }
  std::map<Side, std::pair<int, int>> shares;
  const std::vector<Side> lone_sides = split_by_component(lone, {7, 1, 2}, 1);
  for (std::size_t i = 0; i < lone.size(); ++i) {
    (lone[i].positive() ? shares[lone_sides[i]].first : shares[lone_sides[i]].second) += 1;
  }
  CHECK(shares[Side::train] == std::pair(175, 525));
  CHECK(shares[Side::valid] == std::pair(25, 75));
  CHECK(shares[Side::test] == std::pair(50, 150));
}

TEST_CASE("ratios that are no shares are refused, and a side may be empty") {
  const std::vector<Pair> pairs = random_pairs(50, 500, 2);
  test::require_error(ErrorCode::usage, {"ratios"}, [&] { split_by_component(pairs, {0, 0, 0}, 1); });
  test::require_error(ErrorCode::usage, {"ratios"}, [&] { split_by_component(pairs, {-1, 1, 1}, 1); });
  for (Side side : split_by_component(pairs, {1, 0, 1}, 1)) CHECK(side != Side::valid);
}

TEST_CASE("pairs are in one component when they are linked by questions, directly or over others") {
  const std::vector<Pair> pairs = {{"a", "b", 1, 2},   {"c", "d", 0, 3}, {"e", "f", 0, 4},
                                   {"B?", "e ", 1, 5}, {"g", "h", 0, 6}, {"g", "g", 1, 7}};
  CHECK(components_of(pairs) == std::vector<std::size_t>{0, 1, 0, 0, 2, 2});
  CHECK(components_of({}).empty());
}

TEST_CASE("shared questions are counted once each") {
  const std::vector<Pair> first = {{"a", "b", 1, 2}};
  const std::vector<Pair> second = {{"A?", "c", 1, 2}, {"a", "b ", 0, 3}};
  CHECK(shared_questions(first, second) == 2);
}
