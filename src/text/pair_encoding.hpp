#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "promptcache/model/model_directory.hpp"
#include "promptcache/text/tokenizer.hpp"

namespace promptcache::text {

/// Token ids of two texts as one input.
struct PairEncoding {
  std::vector<std::int32_t> ids;
  std::size_t second_text = 0;  ///< first token that belongs to the second text, of token type 1 in BERT
  std::size_t full_length = 0;  ///< number of ids before truncation, special tokens included

  bool truncated() const noexcept { return ids.size() < full_length; }
};

/// Special tokens of a pair: [CLS] a [SEP] b [SEP] in BERT, <s> a </s></s> b </s> in XLM-RoBERTa.
constexpr std::size_t special_tokens_of_pair(Architecture architecture) {
  return architecture == Architecture::bert ? 3 : 4;
}

/// Puts two texts together that were encoded alone and untruncated. What is beyond `max_tokens` is cut as the fast
/// tokenizers of transformers do: from the longer text, from both once they are equally long. Throws `Error(usage)`
/// when `max_tokens` has no room for the special tokens and one more.
PairEncoding paired(std::span<const std::int32_t> first, std::span<const std::int32_t> second,
                    Architecture architecture, std::size_t max_tokens);

PairEncoding encode_pair(const Tokenizer& tokenizer, Architecture architecture, std::string_view first,
                         std::string_view second, std::size_t max_tokens);

}  // namespace promptcache::text
