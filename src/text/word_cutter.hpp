#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace promptcache::text {

/// How a text is cut into the words that byte-level BPE then merges within.
enum class WordCut {
  gpt2,    ///< contractions, letters, numbers and other characters with a space before them, white space
  llama3,  ///< the same with up to three digits a word, any one character before letters, line ends behind others
  smollm,  ///< as gpt2, but each digit is a word of its own
};

/// Lengths of the words of a text, in code points; they cover it.
std::vector<std::size_t> cut_words(std::u32string_view text, WordCut cut);

}  // namespace promptcache::text
