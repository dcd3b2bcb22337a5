#include "train/batch.hpp"

#include <algorithm>
#include <utility>

#include "base/random.hpp"

namespace promptcache::train {

TextBatch text_batch(const Dataset& data, const std::vector<std::size_t>& items, const std::vector<std::size_t>& groups,
                     torch::Device device) {
  std::vector<std::size_t> texts;
  for (const std::size_t item : items) {
    texts.push_back(data.items[item].first);
    texts.push_back(data.items[item].second);
  }
  const auto shorter = [&](std::size_t a, std::size_t b) {
    return std::pair(data.texts[a].size(), a) < std::pair(data.texts[b].size(), b);
  };
  std::sort(texts.begin(), texts.end(), shorter);
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  const auto places = [&](auto text_of) {
    std::vector<std::int64_t> result;
    for (const std::size_t item : items) {
      const auto place = std::lower_bound(texts.begin(), texts.end(), text_of(data.items[item]), shorter);
      result.push_back(place - texts.begin());
    }
    return torch::tensor(result, torch::kInt64).to(device);
  };
  TextBatch batch;
  std::vector<std::int64_t> numbers;
  for (const std::size_t text : texts) {
    batch.sequences.push_back({data.texts[text]});
    numbers.push_back(static_cast<std::int64_t>(text));
    if (!groups.empty()) batch.pairs.groups.push_back(groups[text]);
  }
  batch.numbers = torch::tensor(numbers, torch::kInt64);
  batch.pairs.first = places([](const Dataset::Item& item) { return item.first; });
  batch.pairs.second = places([](const Dataset::Item& item) { return item.second; });
  std::vector<float> labels;
  for (const std::size_t item : items) labels.push_back(data.items[item].label);
  batch.pairs.labels = torch::tensor(labels, torch::kFloat32).to(device);
  return batch;
}

PairBatch pair_batch(const Dataset& data, const std::vector<std::size_t>& items, const PairReading& reading,
                     std::uint64_t seed, torch::Device device) {
  std::vector<std::pair<text::PairEncoding, float>> read;
  for (const std::size_t number : items) {
    Dataset::Item item = data.items[number];
    if ((base::scattered(seed ^ base::scattered(number)) & 1) != 0) std::swap(item.first, item.second);
    read.emplace_back(reading(data, item), item.label);
  }
  std::stable_sort(read.begin(), read.end(),
                   [](const auto& a, const auto& b) { return a.first.ids.size() < b.first.ids.size(); });
  PairBatch batch;
  std::vector<float> labels;
  for (auto& [encoding, label] : read) {
    batch.pairs.push_back(std::move(encoding));
    labels.push_back(label);
  }
  batch.labels = torch::tensor(labels, torch::kFloat32).to(device);
  return batch;
}

std::vector<TokenSequence> PairBatch::sequences() const {
  std::vector<TokenSequence> result;
  for (const text::PairEncoding& pair : pairs) result.push_back({pair.ids, pair.second_text});
  return result;
}

}  // namespace promptcache::train
