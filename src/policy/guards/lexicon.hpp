#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promptcache/policy/guards.hpp"

namespace promptcache::guards {

/// What a word can be. A word may have several roles.
enum class Role : std::uint8_t {
  english,           // counts as a sign of English
  foreign,           // counts as a sign of the language `set`
  ignored,           // says nothing by itself: function words, politeness
  subject,           // may follow the verb of a question: "isn't it"
  auxiliary,         // is, does, can
  negator,           // not, never
  soft_negator,      // fails, unable: may stand for a negation
  harmless_negator,  // whether or not, not only: denies nothing
  number,            // value
  multiplier,        // value
  ordinal,           // value
  unit,              // set: dimension, member: unit; value: factor to the dimension's first unit, 0 for none
  month,             // value: 1 to 12
  alternative,       // member of a set whose members exclude each other
  degree,            // set: adjective, member: 0 positive, 1 comparative, 2 superlative
  question,          // member: type; 0: one that says nothing
  source,            // from
  target,            // to, into
  order,             // set: class of words whose two sides differ: than, before
  directed_verb,     // causes: subject and object differ
  conversion_verb,   // convert A to B
  introducer,        // version, v: a version number follows
  agent,             // by: who did it follows
  time_preposition,  // in, since: a month may follow, and "in" tells the two units of a conversion from each other
};

/// One thing known about a word.
struct Fact {
  Role role = Role::ignored;
  bool weak = false;  ///< written with `!` in the list: counts only with support, which depends on the role
  std::uint16_t set = 0;
  std::uint16_t member = 0;
  double value = 0;

  bool operator==(const Fact&) const = default;
};

/// Members of a set exclude each other.
struct AlternativeSet {
  GuardKind kind = GuardKind::category;
  std::string name;
};

/// A word of an expanded contraction.
struct ExpandedWord {
  std::string text;
  std::uint32_t word = 0;
};

struct Word {
  std::uint32_t roles = 0;  ///< bit set of `Role`
  std::uint32_t first_fact = 0;
  std::uint16_t facts = 0;
  std::uint8_t longest_phrase = 0;  ///< words of the longest phrase that begins with this one; 0 for none
  bool gap_phrase = false;          ///< a phrase like "turn ... off" begins with this one
  std::uint64_t sense = 0;          ///< the same for words of the same meaning; 0: the word's own stem
  std::uint16_t expansion = 0;      ///< 1-based position among the contractions; 0 for none

  bool is(Role role) const noexcept { return (roles >> static_cast<unsigned>(role) & 1U) != 0; }
};

/// The word lists of guards, ready for look-ups. Immutable once read.
class Lexicon {
 public:
  /// Throws `Error(format)` with `place` and the line.
  static std::shared_ptr<const Lexicon> read(std::string_view text, const std::string& place);

  /// Position of a word, by the hash of its form and that of its stem; 0, the empty word, for an unknown one.
  std::uint32_t find(std::uint64_t form, std::uint64_t stem) const noexcept;
  /// Position of a phrase, by the sequence of its words' stems.
  std::uint32_t find_phrase(std::uint64_t stems) const noexcept { return slot(stems ^ phrase_salt); }
  /// The same for one with a gap.
  std::uint32_t find_gap_phrase(std::uint64_t stems) const noexcept { return slot(stems ^ gap_salt); }

  const Word& word(std::uint32_t position) const noexcept { return words_[position]; }
  std::span<const Fact> facts(std::uint32_t position) const noexcept {
    return {facts_.data() + words_[position].first_fact, words_[position].facts};
  }
  /// The first fact of this role, or nullptr.
  const Fact* fact(std::uint32_t position, Role role) const noexcept;
  std::span<const ExpandedWord> expansion(const Word& word) const noexcept { return expansions_[word.expansion]; }
  const AlternativeSet& set(std::uint16_t position) const noexcept { return sets_[position]; }
  const std::string& dimension(std::uint16_t position) const noexcept { return dimensions_[position]; }
  const std::string& unit(std::uint16_t member) const noexcept { return units_[member]; }
  const std::string& question(std::uint16_t member) const noexcept { return questions_[member]; }
  /// Whether questions of these types may ask for the same.
  bool compatible(std::uint16_t one, std::uint16_t other) const noexcept;
  const std::string& foreign(std::uint16_t set) const noexcept { return languages_[set]; }
  /// The dimension of am and pm; 0 when the list has none.
  std::uint16_t clock() const noexcept { return clock_; }

 private:
  friend class LexiconBuilder;
  friend class LexiconReader;
  struct Slot {
    std::uint64_t key = 0;
    std::uint32_t word = 0;
  };
  static constexpr std::uint64_t stem_salt = 0x5851F42D4C957F2DULL;
  static constexpr std::uint64_t phrase_salt = 0x14057B7EF767814FULL;
  static constexpr std::uint64_t gap_salt = 0x2545F4914F6CDD1DULL;

  std::uint32_t slot(std::uint64_t key) const noexcept;

  std::vector<Slot> slots_;
  std::vector<Word> words_;
  std::vector<Fact> facts_;
  std::vector<std::vector<ExpandedWord>> expansions_;
  std::vector<AlternativeSet> sets_;
  std::vector<std::string> dimensions_, units_, questions_, languages_;
  std::vector<std::pair<std::uint16_t, std::uint16_t>> compatible_;
  std::uint16_t clock_ = 0;
};

/// The list that is built into the library.
std::string_view built_in_list() noexcept;

}  // namespace promptcache::guards
