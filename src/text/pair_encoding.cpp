#include "text/pair_encoding.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "promptcache/base/error.hpp"

namespace promptcache::text {
namespace {

struct Lengths {
  std::size_t first = 0, second = 0;
};

Lengths cut_longest(std::size_t first, std::size_t second, std::size_t most) {
  if (first + second <= most) return {first, second};
  std::size_t shorter = std::min(first, second);
  std::size_t longer = shorter > most ? shorter : std::max(shorter, most - shorter);
  if (shorter + longer > most) {
    shorter = most / 2;
    longer = shorter + most % 2;
  }
  return first > second ? Lengths{longer, shorter} : Lengths{shorter, longer};
}

}  // namespace

PairEncoding paired(std::span<const std::int32_t> first, std::span<const std::int32_t> second,
                    Architecture architecture, std::size_t max_tokens) {
  const std::size_t special = special_tokens_of_pair(architecture);
  if (max_tokens <= special) {
    throw Error(ErrorCode::usage, {"max_tokens"}, std::to_string(max_tokens),
                "at least " + std::to_string(special + 1) + ", for the special tokens of a pair and one more");
  }
  const std::int32_t start = first.front();
  const std::int32_t end = first.back();
  const auto own = [](std::span<const std::int32_t> framed) { return framed.subspan(1, framed.size() - 2); };
  const auto [of_first, of_second] = cut_longest(own(first).size(), own(second).size(), max_tokens - special);
  PairEncoding pair;
  pair.full_length = own(first).size() + own(second).size() + special;
  pair.ids.reserve(of_first + of_second + special);
  const auto append = [&](std::span<const std::int32_t> ids) {
    pair.ids.insert(pair.ids.end(), ids.begin(), ids.end());
  };
  pair.ids.push_back(start);
  append(own(first).first(of_first));
  pair.ids.push_back(end);
  if (architecture == Architecture::xlm_roberta) pair.ids.push_back(end);
  pair.second_text = pair.ids.size();
  append(own(second).first(of_second));
  pair.ids.push_back(end);
  return pair;
}

PairEncoding encode_pair(const Tokenizer& tokenizer, Architecture architecture, std::string_view first,
                         std::string_view second, std::size_t max_tokens) {
  constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
  return paired(tokenizer.encode(first, unlimited).ids, tokenizer.encode(second, unlimited).ids, architecture,
                max_tokens);
}

}  // namespace promptcache::text
