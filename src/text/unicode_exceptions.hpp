#pragma once

#include <cstdint>
#include <span>

namespace promptcache::text {

struct CodePointRange {
  char32_t first;
  char32_t last;
};

/// A code point and what it becomes; the second part is 0 when there is only one.
struct CodePointMapping {
  char32_t from;
  char32_t to[2];
};

// Where the fast BERT tokenizer, built on older and newer Unicode tables than utf8proc, decides otherwise. All sorted.
extern const std::span<const CodePointRange> kept_format;        ///< Cf, yet not removed as control characters
extern const std::span<const CodePointRange> plain_punctuation;  ///< P*, yet no word of their own
extern const std::span<const CodePointRange> extra_punctuation;  ///< not P*, yet a word of their own
extern const std::span<const CodePointRange> kept_marks;         ///< Mn, yet not stripped as accents
extern const std::span<const CodePointRange> extra_marks;        ///< not Mn, yet stripped
extern const std::span<const CodePointRange> starters;           ///< marks that are never reordered
extern const std::span<const CodePointMapping> lower_cases;
extern const std::span<const CodePointMapping> decompositions;

}  // namespace promptcache::text
