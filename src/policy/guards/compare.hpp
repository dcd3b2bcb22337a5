#pragma once

#include <array>
#include <string>
#include <utility>

#include "policy/guards/analysis.hpp"

namespace promptcache::guards {

/// What a comparison has found: at most one finding a kind, the stronger one, with words only when asked for.
class Findings {
 public:
  Findings(GuardFlags reported, bool words) : reported_(reported), words_(words) {}

  /// `describe` makes the reason, without the name of the kind.
  template <class Describe>
  void add(GuardKind kind, GuardStrength strength, Describe&& describe) {
    if (!reported_.has(kind, strength)) return;
    const auto place = static_cast<std::size_t>(kind);
    const auto rank = static_cast<std::uint8_t>(static_cast<unsigned>(strength) + 1);
    if (ranks_[place] >= rank) return;
    ranks_[place] = rank;
    if (words_) reasons_[place] = describe();
  }

  GuardFlags flags() const;
  std::vector<GuardFinding> take(GuardFlags vetoes);

 private:
  GuardFlags reported_;
  bool words_;
  std::array<std::uint8_t, guard_kind_count> ranks_{};  // 0 none, 1 missing, 2 replaced
  std::array<std::string, guard_kind_count> reasons_;
};

/// "5 in one, 7 in the other", and "5 in one only".
std::string replaced_words(std::string_view one, std::string_view other);
std::string missing_words(std::string_view one);

/// Words of a term's phrase as they stand in the prompt.
std::string shown(const Analysis& analysis, std::uint32_t term);

/// Whether `b` has this term of `a` in any form: a synonym, spelled in one word or two, as an acronym, misspelled.
bool is_met(const Analysis& a, std::uint32_t term, const Analysis& b);
/// Whether a term of `a` and one of `b` stand beside the same word, articles aside.
bool same_slot(const Analysis& a, std::uint32_t one, const Analysis& b, std::uint32_t other);
/// Whether these words stand in `b` one after the other, however they are cut.
bool has_run(const Analysis& b, std::string_view folded);

/// Content words of two prompts that the other lacks.
struct Overlap {
  Overlap(const Analysis& a, const Analysis& b);

  std::vector<std::uint32_t> only_a, only_b;  ///< terms
  std::size_t common = 0;
  bool known = false;  ///< false for long prompts, and for those with hardly a word in common

  bool differ_by_at_most(std::size_t words) const noexcept {
    return known && only_a.size() <= words && only_b.size() <= words;
  }
};

// The comparisons. Findings do not depend on which prompt is `a`.
void compare(const Lexicon& lexicon, const Analysis& a, const Analysis& b, Findings& findings);
void compare_numbers(const Analysis& a, const Analysis& b, const Overlap& overlap, Findings& findings);
void compare_units(const Lexicon& lexicon, const Analysis& a, const Analysis& b, const Overlap& overlap,
                   Findings& findings);
void compare_dates(const Analysis& a, const Analysis& b, Findings& findings);
void compare_quotes_and_code(const Analysis& a, const Analysis& b, Findings& findings);
void compare_names(const Analysis& a, const Analysis& b, const Overlap& overlap, Findings& findings);
void compare_substitutions(const Analysis& a, const Analysis& b, const Overlap& overlap, Findings& findings);
void compare_choices_and_negations(const Lexicon& lexicon, const Analysis& a, const Analysis& b, const Overlap& overlap,
                                   Findings& findings);
void compare_directions(const Lexicon& lexicon, const Analysis& a, const Analysis& b, Findings& findings);

/// Calls `met(item, other items)` for the items of both; reports replaced when both have one that is not met and
/// `conflict` holds for such a pair, missing when any is not met.
template <class Item, class Met, class Conflict, class Report>
void compare_items(const std::vector<Item>& a, const std::vector<Item>& b, Met&& met, Conflict&& conflict,
                   Report&& report) {
  std::array<std::vector<const Item*>, 2> unmet;
  for (const Item& item : a) {
    if (!met(item, true)) unmet[0].push_back(&item);
  }
  for (const Item& item : b) {
    if (!met(item, false)) unmet[1].push_back(&item);
  }
  for (const Item* one : unmet[0]) {
    for (const Item* other : unmet[1]) {
      if (conflict(*one, *other)) return report(one, other);
    }
  }
  if (!unmet[0].empty())
    report(unmet[0].front(), nullptr);
  else if (!unmet[1].empty())
    report(nullptr, unmet[1].front());
}

}  // namespace promptcache::guards
