#include "train/dataset.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <unordered_map>

#include "base/random.hpp"
#include "promptcache/eval/stream.hpp"
#include "promptcache/pairs/split.hpp"

namespace promptcache::train {

std::size_t Dataset::pairs_an_epoch() const {
  return std::accumulate(sets.begin(), sets.end(), std::size_t{0},
                         [](std::size_t sum, const Set& set) { return sum + set.an_epoch; });
}

Dataset make_dataset(const std::vector<WeightedPairs>& sets, const Tokenizer& tokenizer, const std::string& prefix,
                     std::size_t max_tokens) {
  Dataset data;
  std::unordered_map<std::string, std::size_t> numbers;
  const auto number_of = [&](const std::string& text) {
    const auto [place, fresh] = numbers.try_emplace(text, data.texts.size());
    if (fresh) {
      Encoding encoding = tokenizer.encode(prefix + text, max_tokens);
      if (encoding.truncated()) ++data.truncated;
      data.texts.push_back(std::move(encoding.ids));
    }
    return place->second;
  };
  for (const WeightedPairs& set : sets) {
    const std::size_t begin = data.items.size();
    for (const Pair& pair : *set.pairs) {
      const std::size_t first = number_of(pair.q1);
      data.items.push_back({first, number_of(pair.q2), static_cast<float>(pair.label)});
    }
    const double wanted = set.weight * static_cast<double>(sets.front().pairs->size());
    data.sets.push_back({begin, data.items.size(), static_cast<std::size_t>(std::llround(wanted))});
  }
  return data;
}

Dataset make_paired_dataset(const std::vector<WeightedPairs>& sets, const Tokenizer& tokenizer,
                            const PairReading& reading) {
  std::vector<std::vector<Pair>> ordered;
  std::vector<WeightedPairs> ordered_sets;
  ordered.reserve(sets.size());
  for (const WeightedPairs& set : sets) {
    std::vector<Pair>& pairs = ordered.emplace_back(*set.pairs);
    for (Pair& pair : pairs) {
      if (pair.q2 < pair.q1) std::swap(pair.q1, pair.q2);
    }
    ordered_sets.push_back({&pairs, set.weight});
  }
  Dataset data = make_dataset(ordered_sets, tokenizer, "", std::numeric_limits<std::size_t>::max());
  data.truncated =
      static_cast<std::size_t>(std::count_if(data.items.begin(), data.items.end(), [&](const Dataset::Item& item) {
        return reading(data, item).truncated();
      }));
  return data;
}

Dataset part_of(const Dataset& data, const std::vector<std::size_t>& items) {
  Dataset part;
  std::unordered_map<std::size_t, std::size_t> numbers;
  const auto number_of = [&](std::size_t text) {
    const auto [place, fresh] = numbers.try_emplace(text, part.texts.size());
    if (fresh) part.texts.push_back(data.texts[text]);
    return place->second;
  };
  for (const std::size_t number : items) {
    const Dataset::Item& item = data.items[number];
    const std::size_t first = number_of(item.first);
    part.items.push_back({first, number_of(item.second), item.label});
  }
  part.sets.push_back({0, items.size(), items.size()});
  return part;
}

std::vector<std::size_t> positive_groups(const Dataset& data) {
  std::vector<std::size_t> first, second;
  std::vector<double> labels;
  for (const Dataset::Item& item : data.items) {
    first.push_back(item.first);
    second.push_back(item.second);
    labels.push_back(static_cast<double>(item.label));
  }
  const PromptTruth truth = PromptTruth::from_pairs(data.texts.size(), first, second, labels);
  std::vector<std::size_t> groups;
  for (std::size_t text = 0; text < data.texts.size(); ++text) groups.push_back(truth.component(text));
  return groups;
}

std::vector<Pair> nested_share(const std::vector<Pair>& pairs, double share) {
  const std::vector<std::size_t> components = components_of(pairs);
  std::vector<std::size_t> order(pairs.empty() ? 0 : *std::max_element(components.begin(), components.end()) + 1);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937_64 random(20'260'101);
  base::shuffle(order, random);
  std::vector<std::size_t> sizes(order.size());
  for (std::size_t component : components) ++sizes[component];
  const double wanted = share * static_cast<double>(pairs.size());
  std::vector<std::uint8_t> taken(order.size());
  double count = 0;
  for (std::size_t component : order) {
    if (count >= wanted) break;
    taken[component] = 1;
    count += static_cast<double>(sizes[component]);
  }
  std::vector<Pair> result;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (taken[components[i]] != 0) result.push_back(pairs[i]);
  }
  return result;
}

std::vector<std::size_t> epoch_items(const Dataset& data, std::uint64_t seed, std::size_t epoch) {
  std::vector<std::size_t> items;
  for (std::size_t number = 0; number < data.sets.size(); ++number) {
    const Dataset::Set& set = data.sets[number];
    const std::size_t size = set.end - set.begin;
    std::vector<std::size_t> order(size);
    std::size_t pass = static_cast<std::size_t>(-1);
    for (std::size_t at = (epoch - 1) * set.an_epoch; at < epoch * set.an_epoch; ++at) {
      if (at / size != pass) {
        pass = at / size;
        std::iota(order.begin(), order.end(), set.begin);
        std::mt19937_64 random((seed * 1'000'003 + pass) * 1'000'003 + number);
        base::shuffle(order, random);
      }
      items.push_back(order[at % size]);
    }
  }
  std::mt19937_64 random(seed * 1'000'003 + epoch);
  base::shuffle(items, random);
  return items;
}

std::vector<std::vector<std::size_t>> epoch_batches(const Dataset& data, std::size_t batch_size, std::uint64_t seed,
                                                    std::size_t epoch) {
  constexpr std::size_t window = 32;  // batches sorted together
  std::vector<std::size_t> order = epoch_items(data, seed, epoch);
  for (std::size_t begin = 0; begin < order.size(); begin += window * batch_size) {
    const std::size_t end = std::min(order.size(), begin + window * batch_size);
    std::stable_sort(
        order.begin() + static_cast<std::ptrdiff_t>(begin), order.begin() + static_cast<std::ptrdiff_t>(end),
        [&](std::size_t a, std::size_t b) { return data.length(data.items[a]) < data.length(data.items[b]); });
  }
  std::vector<std::vector<std::size_t>> batches;
  for (std::size_t begin = 0; begin < order.size(); begin += batch_size) {
    const std::size_t end = std::min(order.size(), begin + batch_size);
    batches.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(begin),
                         order.begin() + static_cast<std::ptrdiff_t>(end));
  }
  std::mt19937_64 random(seed * 1'000'003 + epoch + (std::uint64_t{1} << 40));
  base::shuffle(batches, random);
  return batches;
}

}  // namespace promptcache::train
