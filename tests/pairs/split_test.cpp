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
  const auto sides = split_by_question(pairs, {7, 1, 2}, 42);
  std::map<std::string, Side> side_of;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!sides[i]) continue;
    for (const std::string& question : {pairs[i].q1, pairs[i].q2}) {
      CHECK(side_of.try_emplace(normalized_question(question), *sides[i]).first->second == *sides[i]);
    }
  }
  CHECK(sides == split_by_question(pairs, {7, 1, 2}, 42));
  CHECK(sides != split_by_question(pairs, {7, 1, 2}, 43));
  std::vector<Pair> lone;
  for (std::size_t i = 0; i < 1000; ++i) {
    lone.push_back({"a" + std::to_string(i), "b" + std::to_string(i), i % 4 == 0 ? 1.0 : 0.0, i});
  }
  std::map<Side, std::pair<int, int>> shares;
  const auto lone_sides = split_by_question(lone, {7, 1, 2}, 1);
  for (std::size_t i = 0; i < lone.size(); ++i) {
    (lone[i].positive() ? shares[lone_sides[i].value()].first : shares[*lone_sides[i]].second) += 1;
  }
  CHECK(shares[Side::train] == std::pair(175, 525));
  CHECK(shares[Side::valid] == std::pair(25, 75));
  CHECK(shares[Side::test] == std::pair(50, 150));
}

TEST_CASE("a log whose pairs all hang together is cut between its closest questions, and sides keep their shares") {
  // A ring of 6,000 questions, each linked to the next three; every tenth pair of neighbours is positive.
  constexpr std::size_t questions = 6000;
  std::vector<Pair> pairs;
  std::vector<double> closeness;
  for (std::size_t i = 0; i < questions; ++i) {
    for (std::size_t step = 1; step <= 3; ++step) {
      const std::size_t other = (i + step) % questions;
      pairs.push_back({"q" + std::to_string(i), "q" + std::to_string(other), step == 1 && i % 10 == 0 ? 1.0 : 0.0});
      closeness.push_back(1.0 / static_cast<double>(step) - static_cast<double>(i % 7) / 1000);
    }
  }
  const auto sides = split_by_question(pairs, {6, 1, 3}, 1, closeness);
  std::map<std::optional<Side>, std::vector<Pair>> parts;
  std::map<std::string, Side> side_of;
  std::size_t positives_left_out = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    parts[sides[i]].push_back(pairs[i]);
    if (!sides[i]) {
      positives_left_out += pairs[i].positive() ? 1 : 0;
      continue;
    }
    for (const std::string& question : {pairs[i].q1, pairs[i].q2}) {
      CHECK(side_of.try_emplace(question, *sides[i]).first->second == *sides[i]);
    }
  }
  CHECK(positives_left_out == 0);
  CHECK(parts[std::nullopt].size() < pairs.size() / 2);
  const auto share = [&](Side side) {
    return static_cast<double>(parts[side].size()) / static_cast<double>(pairs.size() - parts[std::nullopt].size());
  };
  CHECK(share(Side::valid) > 0.07);
  CHECK(share(Side::test) > 0.2);
  CHECK(share(Side::train) > 0.5);
  // Small clusters where intervals are made of them.
  for (const Side side : {Side::valid, Side::test}) {
    std::map<std::size_t, std::size_t> sizes;
    for (const std::size_t component : components_of(parts[side])) ++sizes[component];
    CHECK(sizes.size() > 50);
    for (const auto& [component, size] : sizes) CHECK(size <= 3 * 8);
  }
  test::require_error(ErrorCode::usage, {"closeness", "2 values", "18000"}, [&] {
    split_by_question(pairs, {6, 1, 3}, 1, std::vector<double>{1, 2});
  });
  // Without closeness, in the order of the file: still a split.
  std::map<std::optional<Side>, std::size_t> counts;
  for (const auto side : split_by_question(pairs, {6, 1, 3}, 1)) ++counts[side];
  CHECK(counts[Side::test] > 1000);
}

TEST_CASE("ratios that are no shares are refused, and a side may be empty") {
  const std::vector<Pair> pairs = random_pairs(50, 500, 2);
  test::require_error(ErrorCode::usage, {"ratios"}, [&] { split_by_question(pairs, {0, 0, 0}, 1); });
  test::require_error(ErrorCode::usage, {"ratios"}, [&] { split_by_question(pairs, {-1, 1, 1}, 1); });
  for (const auto side : split_by_question(pairs, {1, 0, 1}, 1)) CHECK(side != Side::valid);
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
