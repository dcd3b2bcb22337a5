#include "promptcache/eval/stream.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <unordered_map>

#include "base/random.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/embed/bulk.hpp"

namespace promptcache {
namespace {

std::uint64_t key_of(std::size_t a, std::size_t b) {
  return (static_cast<std::uint64_t>(std::min(a, b)) << 32) | std::max(a, b);
}

/// Positions of pairs in an order under which the first of them make a fair part.
std::vector<std::size_t> drawn_order(std::size_t count, std::uint64_t seed) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937_64 random = base::generator(seed, 0);
  base::shuffle(order, random);
  return order;
}

std::optional<double> share(std::size_t part, std::size_t whole) {
  return whole > 0 ? std::optional(static_cast<double>(part) / static_cast<double>(whole)) : std::nullopt;
}

double quantile(const std::vector<double>& sorted, double p) {
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::optional<IntervalEstimate> summary(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  return IntervalEstimate{mean, quantile(values, 0.025), quantile(values, 0.975)};
}

/// Hands texts on to the encoder and notes which of them it could not represent.
class Observed : public Embedder {
 public:
  Observed(const Embedder& inner, std::span<const std::string_view> texts, PromptVectors& notes)
      : inner_(inner), notes_(notes) {
    for (std::size_t i = 0; i < texts.size(); ++i) number_of_[texts[i]] = i;
  }
  std::size_t dimension() const override { return inner_.dimension(); }
  Digest identity() const override { return inner_.identity(); }
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    EmbedReport report = inner_.embed(texts, out);
    const std::lock_guard lock(mutex_);
    for (const std::size_t at : report.truncated) notes_.exact_only[number_of_.at(texts[at])] = 1;
    for (const std::size_t at : report.unrepresented) notes_.exact_only[number_of_.at(texts[at])] = 1;
    notes_.truncated += report.truncated.size();
    return report;
  }

 private:
  const Embedder& inner_;
  PromptVectors& notes_;
  std::unordered_map<std::string_view, std::size_t> number_of_;
  mutable std::mutex mutex_;
};

void check(const PromptTruth& truth, const StreamPlan& plan) {
  const auto require = [](bool good, const char* place, double value, const char* wanted) {
    if (!good) throw Error(ErrorCode::usage, {place}, std::to_string(value), wanted);
  };
  require(truth.size() > 0, "stream", 0, "at least one prompt");
  require(plan.zipf_exponent >= 0 && plan.zipf_exponent <= 10, "zipf exponent", plan.zipf_exponent,
          "a number from 0 to 10");
  require(plan.drift >= 0 && plan.drift <= 1000, "drift", plan.drift, "a number from 0 to 1000");
  require(plan.drift == 0 || plan.popularity == Popularity::zipf, "drift", plan.drift,
          "Zipf's popularity with it: where all are equally popular nothing can drift");
  require(plan.again >= 0 && plan.again <= 100, "again", plan.again, "a number from 0 to 100");
  require(plan.shuffles > 0, "shuffles", 0, "at least one");
}

}  // namespace

PromptTruth PromptTruth::from_pairs(std::size_t prompts, std::span<const std::size_t> first,
                                    std::span<const std::size_t> second, std::span<const double> labels) {
  if (first.size() != labels.size() || second.size() != labels.size()) {
    throw Error(ErrorCode::usage, {"PromptTruth"}, std::to_string(labels.size()) + " labels",
                "one for each of " + std::to_string(first.size()) + " pairs");
  }
  struct Judgement {
    double sum = 0;
    double count = 0;
  };
  std::unordered_map<std::uint64_t, Judgement> judgements;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (first[i] >= prompts || second[i] >= prompts) {
      throw Error(ErrorCode::usage, {"pair " + std::to_string(i + 1)},
                  "prompt " + std::to_string(std::max(first[i], second[i])), "one below " + std::to_string(prompts));
    }
    if (first[i] == second[i]) continue;  // whatever the label, the same prompt is the same prompt
    Judgement& judgement = judgements[key_of(first[i], second[i])];
    judgement.sum += labels[i];
    judgement.count += 1;
  }
  std::vector<std::size_t> parent(prompts);
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  const auto root = [&](std::size_t prompt) {
    while (parent[prompt] != prompt) prompt = parent[prompt] = parent[parent[prompt]];
    return prompt;
  };
  const auto positive = [](const Judgement& judgement) { return judgement.sum >= 0.5 * judgement.count; };
  const auto first_of = [](std::uint64_t key) { return static_cast<std::size_t>(key >> 32); };
  const auto second_of = [](std::uint64_t key) { return static_cast<std::size_t>(key & 0xffffffffU); };
  for (const auto& [key, judgement] : judgements) {
    if (positive(judgement)) parent[root(first_of(key))] = root(second_of(key));
  }
  std::vector<std::size_t> roots(prompts);
  for (std::size_t prompt = 0; prompt < prompts; ++prompt) roots[prompt] = root(prompt);
  PromptTruth truth = from_clusters(roots);
  truth.others_are_wrong_ = false;
  for (const auto& [key, judgement] : judgements) {
    if (positive(judgement)) continue;
    const std::size_t a = truth.component_[first_of(key)];
    const std::size_t b = truth.component_[second_of(key)];
    if (a == b) {
      truth.direct_negatives_.insert(key);
    } else {
      truth.negative_components_.insert(key_of(a, b));
    }
  }
  return truth;
}

PromptTruth PromptTruth::from_clusters(std::span<const std::size_t> cluster_of_prompt) {
  PromptTruth truth;
  std::unordered_map<std::size_t, std::size_t> numbers;
  for (const std::size_t cluster : cluster_of_prompt) {
    truth.component_.push_back(numbers.try_emplace(cluster, numbers.size()).first->second);
  }
  truth.components_ = numbers.size();
  truth.others_are_wrong_ = true;
  return truth;
}

Truth PromptTruth::judge(std::size_t a, std::size_t b) const {
  if (a == b) return Truth::right;
  if (component_[a] == component_[b]) {
    return direct_negatives_.count(key_of(a, b)) != 0 ? Truth::wrong : Truth::right;
  }
  if (others_are_wrong_) return Truth::wrong;
  return negative_components_.count(key_of(component_[a], component_[b])) != 0 ? Truth::wrong : Truth::unknown;
}

PromptSet prompts_of_pairs(const std::vector<Pair>& pairs, std::size_t most, std::uint64_t seed) {
  std::unordered_map<std::string_view, std::size_t> numbers;
  const auto take = [&](const std::vector<std::size_t>& order, std::size_t bound) {
    numbers.clear();
    PromptSet set;
    std::vector<std::size_t> first;
    std::vector<std::size_t> second;
    std::vector<double> labels;
    const auto number_of = [&](const std::string& text) {
      const auto [place, fresh] = numbers.try_emplace(text, set.texts.size());
      if (fresh) set.texts.push_back(text);
      return place->second;
    };
    for (const std::size_t at : order) {
      const Pair& pair = pairs[at];
      const std::size_t fresh = 1 - numbers.count(pair.q1) + (pair.q1 == pair.q2 ? 0 : 1 - numbers.count(pair.q2));
      if (bound > 0 && set.texts.size() + fresh > bound) continue;  // pairs among those taken still speak about them
      first.push_back(number_of(pair.q1));
      second.push_back(number_of(pair.q2));
      labels.push_back(pair.label);
    }
    set.truth = PromptTruth::from_pairs(set.texts.size(), first, second, labels);
    return set;
  };
  std::vector<std::size_t> order(pairs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  PromptSet all = take(order, 0);
  if (most == 0 || all.texts.size() <= most) return all;
  return take(drawn_order(pairs.size(), seed), most);
}

PromptVectors embed_prompts(const Embedder& embedder, const std::vector<std::string>& texts, std::size_t threads,
                            const ProgressCallback& progress) {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  PromptVectors result;
  result.dimension = embedder.dimension();
  result.vectors.resize(views.size() * result.dimension);
  result.exact_only.resize(views.size());
  embed_all(Observed(embedder, views, result), views, threads, std::span(result.vectors), progress);
  return result;
}

std::vector<std::size_t> stream_requests(const PromptTruth& truth, const StreamPlan& plan, std::size_t shuffle) {
  check(truth, plan);
  std::mt19937_64 random = base::generator(plan.seed, shuffle);
  const std::size_t prompts = truth.size();
  const std::size_t length = plan.requests > 0 ? plan.requests : prompts;
  std::vector<std::size_t> requests;
  requests.reserve(length);
  if (plan.once_each()) {
    requests.resize(prompts);
    std::iota(requests.begin(), requests.end(), std::size_t{0});
    base::shuffle(requests, random);
  } else if (plan.popularity == Popularity::uniform) {
    for (std::size_t i = 0; i < length; ++i) requests.push_back(base::uniform_below(random, prompts));
  } else {
    const std::size_t components = truth.components();
    std::vector<std::vector<std::size_t>> members(components);
    for (std::size_t prompt = 0; prompt < prompts; ++prompt) members[truth.component(prompt)].push_back(prompt);
    std::vector<std::size_t> ranking(components);
    std::iota(ranking.begin(), ranking.end(), std::size_t{0});
    base::shuffle(ranking, random);
    std::vector<double> weight_up_to;
    double sum = 0;
    for (std::size_t rank = 1; rank <= components; ++rank) {
      weight_up_to.push_back(sum += std::pow(static_cast<double>(rank), -plan.zipf_exponent));
    }
    for (std::size_t i = 0; i < length; ++i) {
      const auto above = std::upper_bound(weight_up_to.begin(), weight_up_to.end(), sum * base::uniform_share(random));
      const auto rank = std::min(static_cast<std::size_t>(above - weight_up_to.begin()), components - 1);
      const double passed = static_cast<double>(i) / static_cast<double>(length);
      const auto steps = static_cast<std::size_t>(plan.drift * static_cast<double>(components) * passed) % components;
      const std::vector<std::size_t>& chosen = members[ranking[(rank + components - steps) % components]];
      requests.push_back(chosen[base::uniform_below(random, chosen.size())]);
    }
  }
  const std::size_t once = requests.size();
  const auto again = static_cast<std::size_t>(plan.again * static_cast<double>(once));
  for (std::size_t i = 0; i < again; ++i) requests.push_back(requests[base::uniform_below(random, once)]);
  return requests;
}

StreamCounts& StreamCounts::operator+=(const StreamCounts& other) {
  requests += other.requests;
  exact_hits += other.exact_hits;
  right_hits += other.right_hits;
  wrong_hits += other.wrong_hits;
  unknown_hits += other.unknown_hits;
  possible_hits += other.possible_hits;
  evictions += other.evictions;
  return *this;
}

double StreamCounts::hit_rate() const noexcept { return share(hits(), requests).value_or(0); }

std::optional<double> StreamCounts::wrong_hit_rate() const noexcept {
  return share(wrong_hits, exact_hits + right_hits + wrong_hits);
}

std::optional<double> StreamCounts::wrong_semantic_hit_rate() const noexcept {
  return share(wrong_hits, right_hits + wrong_hits);
}

std::optional<double> StreamCounts::efficiency() const noexcept {
  if (possible_hits == 0) return std::nullopt;
  return (static_cast<double>(exact_hits + right_hits) - static_cast<double>(wrong_hits)) /
         static_cast<double>(possible_hits);
}

std::optional<double> StreamCounts::efficiency_at_worst() const noexcept {
  StreamCounts worst = *this;
  worst.wrong_hits += unknown_hits;
  return worst.efficiency();
}

double StreamScore::mean(std::size_t StreamCounts::*count) const {
  return shuffles.empty() ? 0 : static_cast<double>(total.*count) / static_cast<double>(shuffles.size());
}

StreamScore score_of(double tau, std::vector<StreamCounts> shuffles) {
  StreamScore score;
  score.tau = tau;
  std::vector<double> efficiencies;
  std::vector<double> at_worst;
  for (const StreamCounts& counts : shuffles) {
    score.total += counts;
    if (const std::optional<double> efficiency = counts.efficiency()) {
      efficiencies.push_back(*efficiency);
      at_worst.push_back(*counts.efficiency_at_worst());
    }
  }
  if (efficiencies.size() == shuffles.size()) {
    score.efficiency = summary(std::move(efficiencies));
    score.efficiency_at_worst = summary(std::move(at_worst));
  }
  score.shuffles = std::move(shuffles);
  return score;
}

std::optional<IntervalEstimate> efficiency_difference(const StreamScore& first, const StreamScore& second) {
  if (!first.efficiency || !second.efficiency || first.shuffles.size() != second.shuffles.size()) return std::nullopt;
  std::vector<double> differences;
  for (std::size_t i = 0; i < first.shuffles.size(); ++i) {
    differences.push_back(*first.shuffles[i].efficiency() - *second.shuffles[i].efficiency());
  }
  return summary(std::move(differences));
}

const StreamScore* most_efficient(std::span<const StreamScore> scores, bool at_worst) {
  const auto value_of = [&](const StreamScore& score) {
    return (at_worst ? score.efficiency_at_worst : score.efficiency)->value;
  };
  const StreamScore* best = nullptr;
  for (const StreamScore& score : scores) {
    if (!score.efficiency) continue;
    const bool better = best == nullptr || value_of(score) > value_of(*best) ||
                        (value_of(score) == value_of(*best) && score.tau > best->tau);
    if (better) best = &score;
  }
  return best;
}

}  // namespace promptcache
