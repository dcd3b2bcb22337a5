#include "promptcache/pairs/split.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <unordered_map>
#include <unordered_set>

#include "base/random.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Punctuation that carries no meaning at the ends of a question; other bytes (accents, CJK) are left alone.
bool is_edge(char c) { return is_space(c) || std::string_view("?!.,;:\"'`()[]").find(c) != std::string_view::npos; }

/// Union-find over small integers.
class Groups {
 public:
  std::size_t add() {
    parent_.push_back(parent_.size());
    return parent_.size() - 1;
  }
  std::size_t find(std::size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(std::size_t a, std::size_t b) { parent_[find(a)] = find(b); }

 private:
  std::vector<std::size_t> parent_;
};

}  // namespace

std::string normalized_question(std::string_view question) {
  while (!question.empty() && is_edge(question.front())) question.remove_prefix(1);
  while (!question.empty() && is_edge(question.back())) question.remove_suffix(1);
  std::string text;
  for (char c : question) {
    if (is_space(c)) {
      if (text.back() != ' ') text += ' ';
    } else {
      text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return text;
}

std::vector<std::size_t> components_of(const std::vector<Pair>& pairs) {
  Groups groups;
  std::unordered_map<std::string, std::size_t> nodes;
  const auto node_of = [&](const std::string& question) {
    const auto [place, fresh] = nodes.try_emplace(normalized_question(question), 0);
    if (fresh) place->second = groups.add();
    return place->second;
  };
  std::vector<std::size_t> first_nodes;
  for (const Pair& pair : pairs) {
    first_nodes.push_back(node_of(pair.q1));
    groups.join(first_nodes.back(), node_of(pair.q2));
  }
  std::unordered_map<std::size_t, std::size_t> numbers;
  std::vector<std::size_t> result;
  for (std::size_t node : first_nodes)
    result.push_back(numbers.try_emplace(groups.find(node), numbers.size()).first->second);
  return result;
}

std::vector<Side> split_by_component(const std::vector<Pair>& pairs, std::array<double, 3> ratios, std::uint64_t seed) {
  const double total = ratios[0] + ratios[1] + ratios[2];
  if (!(ratios[0] >= 0 && ratios[1] >= 0 && ratios[2] >= 0 && total > 0)) {
    throw Error(ErrorCode::usage, {"ratios"},
                std::to_string(ratios[0]) + ":" + std::to_string(ratios[1]) + ":" + std::to_string(ratios[2]),
                "three shares that are not negative and not all zero");
  }
  struct Component {
    std::array<double, 2> count{};  // negatives, positives
    std::size_t number = 0;
  };
  const std::vector<std::size_t> numbers = components_of(pairs);
  std::vector<Component> components;
  std::array<double, 2> totals{};
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (numbers[i] == components.size()) components.push_back({{}, numbers[i]});
    const std::size_t label = pairs[i].positive() ? 1 : 0;
    components[numbers[i]].count[label] += 1;
    totals[label] += 1;
  }
  std::mt19937_64 random(seed);
  base::shuffle(components, random);
  std::stable_sort(components.begin(), components.end(), [](const Component& a, const Component& b) {
    return a.count[0] + a.count[1] > b.count[0] + b.count[1];
  });

  std::array<std::array<double, 2>, 3> filled{};
  std::vector<Side> side_of(components.size());
  for (const Component& component : components) {
    std::size_t best = 0;
    double best_need = -1e300;
    for (std::size_t side = 0; side < 3; ++side) {
      if (ratios[side] == 0) continue;
      // Need: by how much of its own share the side is still short, weighted by what the component brings.
      double need = 0;
      for (std::size_t label = 0; label < 2; ++label) {
        if (component.count[label] == 0) continue;
        const double share = totals[label] * ratios[side] / total;
        need += component.count[label] * (share - filled[side][label]) / share;
      }
      if (need > best_need) {
        best_need = need;
        best = side;
      }
    }
    for (std::size_t label = 0; label < 2; ++label) filled[best][label] += component.count[label];
    side_of[component.number] = static_cast<Side>(best);
  }
  std::vector<Side> sides;
  for (std::size_t number : numbers) sides.push_back(side_of[number]);
  return sides;
}

std::size_t shared_questions(const std::vector<Pair>& first, const std::vector<Pair>& second) {
  std::unordered_set<std::string> known;
  for (const Pair& pair : first) {
    known.insert(normalized_question(pair.q1));
    known.insert(normalized_question(pair.q2));
  }
  std::unordered_set<std::string> shared;
  for (const Pair& pair : second) {
    for (const std::string* question : {&pair.q1, &pair.q2}) {
      std::string text = normalized_question(*question);
      if (known.count(text) != 0) shared.insert(std::move(text));
    }
  }
  return shared.size();
}

}  // namespace promptcache
