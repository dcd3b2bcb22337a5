#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/text/tokenizer.hpp"
#include "text/pair_encoding.hpp"

namespace promptcache::train {

/// Pairs of one or several sets over a table of distinct, tokenized texts.
struct Dataset {
  struct Item {
    std::size_t first;
    std::size_t second;
    float label;
  };
  /// Items [begin, end) belong together; so many of them are drawn for an epoch.
  struct Set {
    std::size_t begin;
    std::size_t end;
    std::size_t an_epoch;
  };
  std::vector<std::vector<std::int32_t>> texts;
  std::vector<Item> items;
  std::vector<Set> sets;
  std::size_t truncated = 0;  ///< texts cut to the limit, or pairs that are read together

  std::size_t length(const Item& item) const { return std::max(texts[item.first].size(), texts[item.second].size()); }
  std::size_t pairs_an_epoch() const;
};

/// A set and how many pairs of it come to each pair of the first set.
struct WeightedPairs {
  const std::vector<Pair>* pairs;
  double weight = 1;
};

Dataset make_dataset(const std::vector<WeightedPairs>& sets, const Tokenizer& tokenizer, const std::string& prefix,
                     std::size_t max_tokens);

/// How two texts are read together.
struct PairReading {
  Architecture architecture = Architecture::bert;
  std::size_t max_tokens = 0;

  text::PairEncoding operator()(const Dataset& data, const Dataset::Item& item) const {
    return text::paired(data.texts[item.first], data.texts[item.second], architecture, max_tokens);
  }
};

/// The same for reading pairs together: texts are not cut, and the first of each item is the smaller one, as
/// `PairScorer` puts them.
Dataset make_paired_dataset(const std::vector<WeightedPairs>& sets, const Tokenizer& tokenizer,
                            const PairReading& reading);

/// The given items and their texts, as one set.
Dataset part_of(const Dataset& data, const std::vector<std::size_t>& items);

/// Number of the group of each text: texts that positive pairs link, directly or over others, share one.
std::vector<std::size_t> positive_groups(const Dataset& data);

/// The first `share` of the pairs, whole components of questions at a time, in an order of components that is always
/// the same: a smaller share is part of a larger one.
std::vector<Pair> nested_share(const std::vector<Pair>& pairs, double share);

/// The items of one epoch in random order. Each set is gone through in passes, each in an order of its own, from where
/// the epoch before left off, so that no item comes twice before all others of its set came once.
std::vector<std::size_t> epoch_items(const Dataset& data, std::uint64_t seed, std::size_t epoch);

/// Batches of one epoch as positions of items: shuffled, then sorted by length inside windows of many batches so that a
/// batch holds texts of like length, then the batches shuffled. Depends on `seed` and `epoch` alone.
std::vector<std::vector<std::size_t>> epoch_batches(const Dataset& data, std::size_t batch_size, std::uint64_t seed,
                                                    std::size_t epoch);

}  // namespace promptcache::train
