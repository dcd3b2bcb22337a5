#include "promptcache/pairs/neighbours.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <string>
#include <tuple>

#include "base/random.hpp"
#include "index/dot_tile.hpp"
#include "pairs/nearest_lists.hpp"
#include "pairs/pair_sample.hpp"
#include "pairs/similarity_blocks.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {
namespace {

bool before(const PromptPair& a, const PromptPair& b) {
  return std::tie(a.first, a.second) < std::tie(b.first, b.second);
}

/// Pair number `t` in the order (0,1), (0,2), (1,2), (0,3), ...
PromptPair pair_number(std::uint64_t t) {
  auto second = static_cast<std::uint64_t>((1 + std::sqrt(1 + 8 * static_cast<double>(t))) / 2);
  while (pair_count(second) > t) --second;  // the root may be off by one
  while (pair_count(second + 1) <= t) ++second;
  return {static_cast<std::uint32_t>(t - pair_count(second)), static_cast<std::uint32_t>(second), 0};
}

std::vector<float> made_up_vectors(std::size_t count, std::size_t dimension) {
  std::mt19937_64 random(1);
  std::vector<float> values(count * dimension);
  const float scale = 1 / std::sqrt(static_cast<float>(dimension));
  for (float& value : values) value = (random() & 1) != 0 ? scale : -scale;
  return values;
}

}  // namespace

std::uint64_t pair_count(std::uint64_t prompts) noexcept {
  return prompts % 2 == 0 ? prompts / 2 * (prompts - 1) : (prompts - 1) / 2 * prompts;
}

std::vector<PromptPair> pairs_of(const NearestLists& lists) {
  std::vector<PromptPair> pairs;
  for (std::size_t prompt = 0; prompt < lists.prompts(); ++prompt) {
    const auto position = static_cast<std::uint32_t>(prompt);
    for (const Neighbour& neighbour : lists.of(prompt)) {
      if (!neighbour.there()) continue;
      const auto [first, second] = std::minmax(position, neighbour.position);
      pairs.push_back({first, second, std::clamp(neighbour.similarity, -1.0F, 1.0F)});
    }
  }
  std::sort(pairs.begin(), pairs.end(), before);
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return pairs;
}

namespace {

/// Offers each prompt to all others, or to the later ones only.
NearestLists nearest_lists(const PromptVectors& vectors, std::size_t k, bool later_only,
                           const PairSearchOptions& options) {
  const std::size_t side = block_side(vectors.size(), options);
  NearestLists lists(vectors.size(), k);
  std::vector<std::mutex> mutexes((vectors.size() + side - 1) / side);  // of the lists of a block's rows
  visit_all_pairs(vectors, side, options, [&](const SimilarityBlock& block) {
    const std::unique_lock first(mutexes[block.row_group]);  // never the larger group first
    std::unique_lock<std::mutex> second;
    if (block.column_group != block.row_group) second = std::unique_lock(mutexes[block.column_group]);
    const std::size_t columns = block.column_end - block.column_begin;
    for (std::size_t i = 0; i < block.row_end - block.row_begin; ++i) {
      const std::size_t row = block.row_begin + i;
      const float* similarities = block.row(i);
      float floor = lists.floor(row);
      for (std::size_t j = block.first_column(i); j < columns; ++j) {
        const std::size_t column = block.column_begin + j;
        if (!later_only && similarities[j] >= floor) {
          lists.offer(row, static_cast<std::uint32_t>(column), similarities[j]);
          floor = lists.floor(row);
        }
        if (similarities[j] >= lists.floor(column)) {
          lists.offer(column, static_cast<std::uint32_t>(row), similarities[j]);
        }
      }
    }
  });
  return lists;
}

}  // namespace

std::vector<PromptPair> nearest_pairs(const PromptVectors& vectors, std::size_t k, const PairSearchOptions& options) {
  check_vectors(vectors);
  check_neighbours(vectors.size(), k);
  return pairs_of(nearest_lists(vectors, k, false, options));
}

namespace {

/// Share of the others on the list with the response of the first one, as far as responses are told.
float agreement_of(std::span<const Neighbour> nearest, std::span<const std::uint32_t> responses) {
  const std::uint32_t response = responses[nearest[0].position];
  std::size_t others = 0, agreeing = 0;
  for (const Neighbour& other : nearest.subspan(1)) {
    if (!other.there() || responses[other.position] == 0) continue;
    ++others;
    if (responses[other.position] == response) ++agreeing;
  }
  if (response == 0 || others == 0) return std::numeric_limits<float>::quiet_NaN();
  return static_cast<float>(agreeing) / static_cast<float>(others);
}

}  // namespace

EarlierPairs earlier_pairs(const PromptVectors& vectors, const PairSearchOptions& options,
                           std::span<const std::uint32_t> responses) {
  check_vectors(vectors);
  check_neighbours(vectors.size(), 1);
  if (!responses.empty() && responses.size() != vectors.size()) {
    throw Error(ErrorCode::usage, {"earlier pairs"}, std::to_string(responses.size()) + " responses",
                "one for each of " + std::to_string(vectors.size()) + " prompts");
  }
  const NearestLists lists = nearest_lists(vectors, candidates_read, true, options);
  EarlierPairs result;
  for (std::size_t prompt = 1; prompt < lists.prompts(); ++prompt) {
    const Neighbour& nearest = lists.of(prompt)[0];
    const Neighbour& next = lists.of(prompt)[1];
    result.pairs.push_back(
        {static_cast<std::uint32_t>(prompt), nearest.position, std::clamp(nearest.similarity, -1.0F, 1.0F)});
    result.next.push_back(next.there() ? std::clamp(next.similarity, -1.0F, 1.0F)
                                       : std::numeric_limits<float>::quiet_NaN());
    if (!responses.empty()) result.agreement.push_back(agreement_of(lists.of(prompt), responses));
  }
  return result;
}

BandPairs band_pairs(const PromptVectors& vectors, const BandOptions& band, const PairSearchOptions& options) {
  check_vectors(vectors);
  check_neighbours(vectors.size(), 1);
  PairSample sample(band);
  visit_all_pairs(vectors, block_side(vectors.size(), options), options, [&](const SimilarityBlock& block) {
    std::vector<PromptPair> found;
    const std::size_t columns = block.column_end - block.column_begin;
    for (std::size_t i = 0; i < block.row_end - block.row_begin; ++i) {
      const float* similarities = block.row(i);
      for (std::size_t j = block.first_column(i); j < columns; ++j) {
        if (!sample.in_band(similarities[j])) continue;
        found.push_back({static_cast<std::uint32_t>(block.row_begin + i),
                         static_cast<std::uint32_t>(block.column_begin + j), similarities[j]});
      }
    }
    if (!found.empty()) sample.offer(found);
  });
  return sample.take();
}

std::vector<PromptPair> random_pairs(const PromptVectors& vectors, std::size_t count, std::uint64_t seed) {
  check_vectors(vectors);
  check_neighbours(vectors.size(), 1);
  const std::uint64_t most = pair_count(vectors.size());
  if (count > most) {
    throw Error(ErrorCode::usage, {"random pairs"}, std::to_string(count),
                "at most " + std::to_string(most) + " of " + std::to_string(vectors.size()) + " distinct prompts");
  }
  std::mt19937_64 random(seed);
  std::vector<PromptPair> pairs;
  pairs.reserve(count);
  for (const std::uint64_t number : base::draw_distinct(random, count, most)) {
    PromptPair pair = pair_number(number);
    const float* rows = vectors.values.data();
    float similarity = 0;
    index::dot_tile(rows + pair.first * vectors.dimension, 1, rows + pair.second * vectors.dimension, 1,
                    vectors.dimension, &similarity, 1);
    pair.similarity = std::clamp(similarity, -1.0F, 1.0F);
    pairs.push_back(pair);
  }
  std::sort(pairs.begin(), pairs.end(), before);
  return pairs;
}

SearchCost nearest_cost(std::size_t prompts, std::size_t dimension, std::size_t k, const PairSearchOptions& options) {
  const std::size_t side = block_side(prompts, options);
  const double values = static_cast<double>(prompts) * static_cast<double>(dimension);
  SearchCost cost;
  cost.gflop = values * static_cast<double>(prompts) / 1e9;  // each pair once: n^2/2 products of 2 d operations
  cost.memory = prompts * (dimension * sizeof(float) + sizeof(float) + k * (sizeof(Neighbour) + sizeof(PromptPair))) +
                std::max<std::size_t>(1, options.threads) * side * side * sizeof(float);
  return cost;
}

double measure_search_rate(std::size_t dimension, const PairSearchOptions& options) {
  const auto threads = static_cast<double>(std::max<std::size_t>(1, options.threads));
  const auto prompts = static_cast<std::size_t>(2048 * std::sqrt(std::clamp(threads / 2, 0.5, 16.0)));
  const std::vector<float> values = made_up_vectors(prompts, dimension);
  PairSearchOptions quiet = options;
  quiet.progress = nullptr;
  constexpr std::size_t few = 64;  // makes what the first search of a process has to make
  nearest_pairs({std::span(values).first(few * dimension), dimension}, 3, quiet);
  const auto begin = std::chrono::steady_clock::now();
  nearest_pairs({values, dimension}, 3, quiet);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return nearest_cost(prompts, dimension, 3, options).gflop / std::max(1e-6, seconds.count());
}

void write_prompt_pairs(const std::string& path, const PromptLog& log, std::span<const PromptPair> pairs,
                        std::span<const PairColumn> more, const ProgressCallback& progress) {
  constexpr std::size_t buffer_bytes = 1U << 20;
  std::string buffer = "q1\tq2\tsimilarity\tcount1\tcount2";
  for (const PairColumn& column : more) {
    buffer.append("\t").append(column.name);
    if (column.values.size() == pairs.size()) continue;
    throw Error(ErrorCode::usage, {std::string(column.name)}, std::to_string(column.values.size()) + " values",
                "one for each of " + std::to_string(pairs.size()) + " pairs");
  }
  buffer += '\n';
  AtomicFile file(path);
  const auto add_number = [&](float value) {
    char number[32];
    buffer.append(number, std::to_chars(number, number + sizeof(number), value).ptr);
  };
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const Prompt& first = log.prompts.at(pairs[i].first);
    const Prompt& second = log.prompts.at(pairs[i].second);
    buffer.append(first.text).append("\t").append(second.text).append("\t");
    add_number(pairs[i].similarity);
    buffer.append("\t").append(std::to_string(first.count)).append("\t").append(std::to_string(second.count));
    for (const PairColumn& column : more) {
      buffer += '\t';
      if (!std::isnan(column.values[i])) add_number(column.values[i]);
    }
    buffer += '\n';
    if (buffer.size() < buffer_bytes && i + 1 < pairs.size()) continue;
    file.write(buffer);
    buffer.clear();
    if (progress) progress({"writing", i + 1, pairs.size(), "pairs", ""});
  }
  file.write(buffer);
  file.commit();
}

}  // namespace promptcache
