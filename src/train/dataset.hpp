#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/text/tokenizer.hpp"

namespace promptcache::train {

/// Pairs over a table of distinct, tokenized texts.
struct Dataset {
  struct Item {
    std::size_t first;
    std::size_t second;
    float label;
  };
  std::vector<std::vector<std::int32_t>> texts;
  std::vector<Item> items;
  std::size_t truncated = 0;  ///< texts cut to the limit

  std::size_t length(const Item& item) const { return std::max(texts[item.first].size(), texts[item.second].size()); }
};

Dataset make_dataset(const std::vector<Pair>& pairs, const Tokenizer& tokenizer, const std::string& prefix,
                     std::size_t max_tokens);

/// Batches of one epoch as positions of items: shuffled, then sorted by length inside windows of many batches so that a
/// batch holds texts of like length, then the batches shuffled. Depends on `seed` and `epoch` alone.
std::vector<std::vector<std::size_t>> epoch_batches(const Dataset& data, std::size_t batch_size, std::uint64_t seed,
                                                    std::size_t epoch);

}  // namespace promptcache::train
