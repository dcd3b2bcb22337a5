#pragma once

#include <string>
#include <vector>

namespace promptcache::text {

/// The steps before WordPiece, as tokenizer.json's BertNormalizer names them.
struct BertNormalization {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  bool strip_accents = true;
  bool lowercase = true;
};

/// Cleans, spaces out CJK characters, strips accents (canonical decomposition, marks dropped) and lower-cases, each
/// step as switched. Character for character what the fast BERT tokenizer does. Linear time.
std::u32string normalize_bert(std::u32string text, const BertNormalization& steps);

/// Words and single punctuation marks of a normalized text.
std::vector<std::u32string_view> split_bert(const std::u32string& text);

}  // namespace promptcache::text
