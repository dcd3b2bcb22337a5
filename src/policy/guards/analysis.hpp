#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/guards/lexicon.hpp"

namespace promptcache::guards {

/// A word, phrase, number or piece of code of a prompt.
struct Term {
  enum Flag : std::uint16_t {
    capital = 1,        // its first letter is a capital
    all_capitals = 2,   // two letters or more, all capitals
    inner_capital = 4,  // a capital after the first letter, but not all
    starts_sentence = 8,
    starts_clause = 16,  // after a comma, colon or bracket, or at the beginning of a sentence
    joined = 32,         // nothing between it and the term before
    number = 64,
    code = 128,
    quoted = 256,
    ignored = 512,
    used = 1024,        // belongs to a number, date or version, and is compared as that
    contracted = 2048,  // came out of a contraction
    letters = 4096,     // has a letter
    swallowed = 8192,   // a later word of a phrase, which the first one stands for
    hyphened = 16384,   // a hyphen between it and the term before
    gapped = 32768,     // stands for a phrase whose last word comes later: "turn" of "turn the light off"
  };

  std::uint32_t begin = 0, size = 0;  ///< of the folded text
  std::uint32_t word = 0;             ///< in the lexicon
  std::uint16_t flags = 0;
  std::uint16_t swallows = 0;  ///< words of its phrase that follow directly
  std::uint64_t stem = 0;
  std::uint64_t sense = 0;  ///< the same for terms of the same meaning

  bool is(Flag flag) const noexcept { return (flags & flag) != 0; }
  std::uint32_t end() const noexcept { return begin + size; }
};

struct Number {
  std::uint32_t term = 0;
  bool exact = false;  ///< has a value; otherwise only equal texts are equal numbers ("6s")
  bool ordinal = false;
  bool vague = false;  ///< "one", "first": may be matched, is no evidence
  bool version = false;
  bool grouped = false;  ///< not written as plain digits
  bool dated = false;    ///< part of a date
  double value = 0;
  std::uint64_t text = 0;                 ///< hash
  std::uint16_t dimension = 0, unit = 0;  ///< 0 for none
  double factor = 0;                      ///< to the first unit of the dimension; 0 for none
  std::uint64_t name = 0;                 ///< of a version: sense of what it is a version of
};

/// A unit without a number: "in miles".
struct Unit {
  std::uint32_t term = 0;
  std::uint16_t dimension = 0, unit = 0;
};

/// What is known of a date; -1 for an unknown part.
struct Date {
  std::uint32_t term = 0;
  std::int16_t year = -1;
  std::int8_t month = -1, day = -1;
  std::int16_t minute = -1;   ///< of the day
  bool either_half = false;   ///< the minute is known within twelve hours only
  bool either_order = false;  ///< day and month may be exchanged
};

/// A range of terms.
struct Span {
  std::uint32_t begin = 0, end = 0;
};

/// A piece of code: exact text and the terms it was cut into.
struct Code {
  std::uint64_t text = 0;
  Span terms;
};

/// A member of a set of alternatives.
struct Choice {
  std::uint16_t set = 0, member = 0;
  std::uint32_t term = 0;
};

struct Negation {
  std::uint32_t term = 0;
  std::uint64_t denied = 0;  ///< sense of the next word that says something; 0 for none
};

/// Two sides of a word at which they must not be exchanged.
struct Direction {
  using Side = std::array<std::uint64_t, 3>;  // senses, the nearest first; 0 for none
  static constexpr std::uint64_t path = 1;
  std::uint64_t kind = 0;    ///< `path` for from ... to, otherwise the word in the middle
  bool target_only = false;  ///< "to Paris" without a "from": compared with sources only
  std::uint32_t term = 0;
  Side left{}, right{};
  std::array<std::uint32_t, 2> shown{};  ///< a term of each side
};

enum class Script : std::uint8_t {
  none,
  latin,
  cyrillic,
  greek,
  arabic,
  hebrew,
  indic,
  han,
  kana,
  hangul,
  thai,
  other
};

/// A prompt, read.
struct Analysis {
  std::string text;    ///< normalised
  std::string folded;  ///< lower case, terms without anything between them
  std::vector<Term> terms;
  std::vector<std::uint64_t> known;  ///< open-addressed set of the terms' stems and senses
  std::vector<Number> numbers;
  std::vector<Unit> units;
  std::vector<Date> dates;
  std::vector<Span> quotes;
  std::vector<Code> codes;
  std::vector<std::uint32_t> names;  ///< terms
  std::vector<Choice> choices;
  std::vector<Negation> negations;
  std::vector<Direction> directions;
  std::vector<std::uint16_t> questions;  ///< types
  bool soft_negation = false;
  bool english = false;
  bool english_words = false;   ///< has words that only English has
  bool capitals_speak = false;  ///< neither without capitals nor full of them
  std::uint16_t foreign = 0;    ///< 1-based language that its function words speak for; 0 for none
  Script script = Script::none;

  std::string_view text_of(const Term& term) const noexcept {
    return std::string_view(folded).substr(term.begin, term.size);
  }
  std::string_view text_of(std::uint32_t term) const noexcept { return text_of(terms[term]); }
  std::string_view text_of(Span span) const noexcept {
    if (span.begin == span.end) return {};
    const std::uint32_t begin = terms[span.begin].begin;
    return std::string_view(folded).substr(begin, terms[span.end - 1].end() - begin);
  }
  /// Whether a term has this stem or sense.
  bool knows(std::uint64_t sense) const noexcept {
    const std::size_t mask = known.size() - 1;
    for (std::size_t i = sense & mask;; i = (i + 1) & mask) {
      if (known[i] == sense) return true;
      if (known[i] == 0) return false;
    }
  }
  void clear();
};

/// Beyond so many items of one kind the rest is not compared: comparisons are pairwise.
inline constexpr std::size_t most_items = 256;

/// Reads a prompt, at most `max_bytes` of it.
void analyse(const Lexicon& lexicon, std::string_view text, std::size_t max_bytes, Analysis& out);

/// A number, date or time of day in digits.
struct DigitRun {
  Number number;
  Date date;
  bool is_date = false;
  std::size_t end = 0;    ///< of the digits
  std::size_t after = 0;  ///< of the ending of an ordinal, too
};
/// What begins with the digit at `begin` of a normalised text.
DigitRun read_digits(std::string_view text, std::size_t begin);

// The steps of `analyse`, in this order.

/// Cuts `out.text` into terms. Without a lexicon nothing is looked up.
void cut_into_terms(const Lexicon* lexicon, Analysis& out);
void find_phrases(const Lexicon& lexicon, Analysis& out);
void find_language(const Lexicon& lexicon, Analysis& out);
void find_numbers(const Lexicon& lexicon, Analysis& out);
void find_dates(const Lexicon& lexicon, Analysis& out);
void find_names(const Lexicon& lexicon, Analysis& out);
void find_choices(const Lexicon& lexicon, Analysis& out);
void find_negations(const Lexicon& lexicon, Analysis& out);
void find_questions(const Lexicon& lexicon, Analysis& out);
void find_directions(const Lexicon& lexicon, Analysis& out);

/// A term that says something by itself: no function word, number or date.
inline bool is_content(const Term& term) noexcept {
  return (term.flags & (Term::ignored | Term::used | Term::number | Term::swallowed)) == 0 &&
         (term.flags & Term::letters) != 0;
}

}  // namespace promptcache::guards
