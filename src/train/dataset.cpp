#include "train/dataset.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <unordered_map>

namespace promptcache::train {
namespace {

/// Fisher-Yates over our own draws: std::shuffle may differ between standard libraries.
template <class T>
void shuffle(std::vector<T>& values, std::mt19937_64& random) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random() % i]);
}

}  // namespace

Dataset make_dataset(const std::vector<Pair>& pairs, const Tokenizer& tokenizer, const std::string& prefix,
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
  for (const Pair& pair : pairs) {
    const std::size_t first = number_of(pair.q1);
    data.items.push_back({first, number_of(pair.q2), static_cast<float>(pair.label)});
  }
  return data;
}

std::vector<std::vector<std::size_t>> epoch_batches(const Dataset& data, std::size_t batch_size, std::uint64_t seed,
                                                    std::size_t epoch) {
  constexpr std::size_t window = 32;  // batches sorted together
  std::mt19937_64 random(seed * 1'000'003 + epoch);
  std::vector<std::size_t> order(data.items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  shuffle(order, random);
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
  shuffle(batches, random);
  return batches;
}

}  // namespace promptcache::train
