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

/// Union-find over small integers, with sizes.
class Groups {
 public:
  explicit Groups(std::size_t count = 0) : sizes_(count, 1) {
    parent_.resize(count);
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }
  std::size_t add() {
    parent_.push_back(parent_.size());
    sizes_.push_back(1);
    return parent_.size() - 1;
  }
  std::size_t find(std::size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  std::size_t size(std::size_t i) { return sizes_[find(i)]; }
  void join(std::size_t a, std::size_t b) {
    a = find(a);
    b = find(b);
    if (a == b) return;
    parent_[a] = b;
    sizes_[b] += sizes_[a];
  }

 private:
  std::vector<std::size_t> parent_, sizes_;
};

/// Pairs as links between questions, which are numbered in order of appearance.
struct Links {
  std::vector<std::array<std::size_t, 2>> ends;
  std::size_t questions = 0;

  explicit Links(const std::vector<Pair>& pairs) {
    std::unordered_map<std::string, std::size_t> numbers;
    for (const Pair& pair : pairs) {
      std::array<std::size_t, 2> end{};
      for (std::size_t i = 0; i < 2; ++i) {
        end[i] = numbers.try_emplace(normalized_question(i == 0 ? pair.q1 : pair.q2), numbers.size()).first->second;
      }
      ends.push_back(end);
    }
    questions = numbers.size();
  }
};

/// Groups of questions: components, and of those with more than `most_pairs` pairs parts of at most `most_questions`.
Groups groups_of(const Links& links, const std::vector<Pair>& pairs, std::span<const double> closeness,
                 double most_pairs, std::size_t most_questions) {
  Groups components(links.questions);
  for (const auto& [a, b] : links.ends) components.join(a, b);
  std::unordered_map<std::size_t, double> counts;
  for (const auto& [a, b] : links.ends) counts[components.find(a)] += 1;
  Groups groups(links.questions);
  std::vector<std::size_t> large;  // pairs
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [a, b] = links.ends[i];
    if (counts.at(components.find(a)) > most_pairs) {
      large.push_back(i);
    } else {
      groups.join(a, b);
    }
  }
  std::stable_sort(large.begin(), large.end(), [&](std::size_t x, std::size_t y) {
    if (pairs[x].positive() != pairs[y].positive()) return pairs[x].positive();
    return !closeness.empty() && closeness[x] > closeness[y];
  });
  for (const std::size_t i : large) {
    const auto& [a, b] = links.ends[i];
    if (groups.find(a) != groups.find(b) && groups.size(a) + groups.size(b) <= most_questions) groups.join(a, b);
  }
  return groups;
}

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
  const Links links(pairs);
  Groups groups(links.questions);
  for (const auto& [a, b] : links.ends) groups.join(a, b);
  std::unordered_map<std::size_t, std::size_t> numbers;
  std::vector<std::size_t> result;
  for (const auto& [a, b] : links.ends) {
    result.push_back(numbers.try_emplace(groups.find(a), numbers.size()).first->second);
  }
  return result;
}

std::vector<std::optional<Side>> split_by_question(const std::vector<Pair>& pairs, std::array<double, 3> ratios,
                                                   std::uint64_t seed, std::span<const double> closeness) {
  const double total = ratios[0] + ratios[1] + ratios[2];
  if (!(ratios[0] >= 0 && ratios[1] >= 0 && ratios[2] >= 0 && total > 0)) {
    throw Error(ErrorCode::usage, {"ratios"},
                std::to_string(ratios[0]) + ":" + std::to_string(ratios[1]) + ":" + std::to_string(ratios[2]),
                "three shares that are not negative and not all zero");
  }
  if (!closeness.empty() && closeness.size() != pairs.size()) {
    throw Error(ErrorCode::usage, {"closeness"}, std::to_string(closeness.size()) + " values",
                std::to_string(pairs.size()) + ", one a pair");
  }
  double smallest = 1;
  for (const double ratio : ratios) {
    if (ratio > 0) smallest = std::min(smallest, ratio / total);
  }
  constexpr double parts = 100;   // at least so many groups on the smallest side, if the log is long
  constexpr std::size_t few = 8;  // questions in a group otherwise
  const Links links(pairs);
  const auto most = static_cast<std::size_t>(smallest * static_cast<double>(links.questions) / parts);
  Groups groups = groups_of(links, pairs, closeness, smallest * static_cast<double>(pairs.size()), std::max(few, most));
  struct Component {
    std::array<double, 2> count{};  // negatives, positives
    std::size_t number = 0;
  };
  // Numbered in order of appearance; a pair between two groups belongs to neither.
  std::unordered_map<std::size_t, std::size_t> numbers;
  std::vector<Component> components;
  std::array<double, 2> totals{};
  std::vector<std::array<std::size_t, 2>> ends;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    std::array<std::size_t, 2> end{};
    for (std::size_t j = 0; j < 2; ++j) {
      end[j] = numbers.try_emplace(groups.find(links.ends[i][j]), numbers.size()).first->second;
      if (end[j] == components.size()) components.push_back({{}, end[j]});
    }
    ends.push_back(end);
    if (end[0] != end[1]) continue;
    const std::size_t label = pairs[i].positive() ? 1 : 0;
    components[end[0]].count[label] += 1;
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
  std::vector<std::optional<Side>> sides;
  for (const auto& [a, b] : ends) {
    const bool together = a == b || (side_of[a] == Side::train && side_of[b] == Side::train);
    sides.push_back(together ? std::optional(side_of[a]) : std::nullopt);
  }
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
