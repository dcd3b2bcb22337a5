#include "policy/guards/compare.hpp"

#include <algorithm>

namespace promptcache::guards {

GuardFlags Findings::flags() const {
  GuardFlags flags;
  for (std::size_t i = 0; i < guard_kind_count; ++i) {
    if (ranks_[i] > 0) flags.add(static_cast<GuardKind>(i), static_cast<GuardStrength>(ranks_[i] - 1));
  }
  return flags;
}

std::vector<GuardFinding> Findings::take(GuardFlags vetoes) {
  std::vector<GuardFinding> findings;
  for (std::size_t i = 0; i < guard_kind_count; ++i) {
    if (ranks_[i] == 0) continue;
    const auto kind = static_cast<GuardKind>(i);
    const auto strength = static_cast<GuardStrength>(ranks_[i] - 1);
    findings.push_back({kind, strength, vetoes.has(kind, strength), std::string(to_string(kind)) + ": " + reasons_[i]});
  }
  return findings;
}

std::string replaced_words(std::string_view one, std::string_view other) {
  if (other < one) std::swap(one, other);
  return std::string(one) + " in one, " + std::string(other) + " in the other";
}

std::string missing_words(std::string_view one) { return std::string(one) + " in one only"; }

std::string shown(const Analysis& analysis, std::uint32_t term) {
  std::string words(analysis.text_of(term));
  for (std::uint32_t i = term + 1; i <= term + analysis.terms[term].swallows; ++i) {
    words += ' ';
    words += analysis.text_of(i);
  }
  constexpr std::size_t most = 60;
  if (words.size() > most) {
    std::size_t end = most;
    while (end > 0 && (static_cast<unsigned char>(words[end]) & 0xC0U) == 0x80U) --end;
    words.resize(end);
    words += "...";
  }
  return words;
}

namespace {

const char* name_of(Script script) {
  switch (script) {
    case Script::latin: return "Latin";
    case Script::cyrillic: return "Cyrillic";
    case Script::greek: return "Greek";
    case Script::arabic: return "Arabic";
    case Script::hebrew: return "Hebrew";
    case Script::indic: return "Indic";
    case Script::han: return "Chinese";
    case Script::kana: return "Japanese";
    case Script::hangul: return "Korean";
    case Script::thai: return "Thai";
    default: return "other";
  }
}

void compare_languages(const Lexicon& lexicon, const Analysis& a, const Analysis& b, Findings& findings) {
  const bool scripts = a.script != Script::none && b.script != Script::none && a.script != b.script;
  if (scripts) {
    findings.add(GuardKind::language, GuardStrength::replaced, [&] {
      return replaced_words(std::string(name_of(a.script)) + " letters", std::string(name_of(b.script)) + " letters");
    });
    return;
  }
  const auto language = [&](const Analysis& of) {
    return of.foreign != 0 ? lexicon.foreign(of.foreign) : of.english_words ? std::string("english") : std::string();
  };
  if (a.foreign == b.foreign || (a.foreign == 0 && !a.english_words) || (b.foreign == 0 && !b.english_words)) return;
  findings.add(GuardKind::language, GuardStrength::replaced, [&] { return replaced_words(language(a), language(b)); });
}

void compare_questions(const Lexicon& lexicon, const Analysis& a, const Analysis& b, Findings& findings) {
  if (a.questions.empty() && b.questions.empty()) return;
  if (a.questions.empty() || b.questions.empty()) {
    findings.add(GuardKind::question_type, GuardStrength::missing, [&] {
      return missing_words(lexicon.question(a.questions.empty() ? b.questions.front() : a.questions.front()));
    });
    return;
  }
  for (const std::uint16_t one : a.questions) {
    for (const std::uint16_t other : b.questions) {
      if (lexicon.compatible(one, other)) return;
    }
  }
  findings.add(GuardKind::question_type, GuardStrength::replaced, [&] {
    return replaced_words(lexicon.question(a.questions.front()), lexicon.question(b.questions.front()));
  });
}

}  // namespace

namespace {

/// A word that names a place, a language or the like: it alone tells two paths from each other.
bool is_end_of_path(const Lexicon& lexicon, const Analysis& of, std::uint32_t term) {
  if (std::find(of.names.begin(), of.names.end(), term) != of.names.end()) return true;
  for (const Fact& fact : lexicon.facts(of.terms[term].word)) {
    if (fact.role != Role::alternative || fact.weak) continue;
    const GuardKind kind = lexicon.set(fact.set).kind;
    if (kind == GuardKind::name || kind == GuardKind::language || kind == GuardKind::format) return true;
  }
  return false;
}

bool meet(const Direction::Side& one, const Direction::Side& other) {
  return std::any_of(one.begin(), one.end(), [&](std::uint64_t word) {
    return word != 0 && std::find(other.begin(), other.end(), word) != other.end();
  });
}

/// Whether what stood on one side of the word stands on the other now.
bool changed_sides(const Lexicon& lexicon, const Analysis& a, const Direction& one, const Direction& other) {
  if (one.kind != other.kind || (one.target_only && other.target_only)) return false;
  if (meet(one.left, other.left) || meet(one.right, other.right)) return false;
  const bool first = meet(one.left, other.right);
  const bool second = meet(one.right, other.left);
  if (first && second) return true;
  if (one.kind != Direction::path) return false;
  // Of a path one end may be left out: "from Paris" against "to Paris".
  const bool left = first && one.left[0] == other.right[0] && (one.right[0] == 0 || other.left[0] == 0);
  const bool right = second && one.right[0] == other.left[0] && (one.left[0] == 0 || other.right[0] == 0);
  return (left && is_end_of_path(lexicon, a, one.shown[0])) || (right && is_end_of_path(lexicon, a, one.shown[1]));
}

}  // namespace

void compare_directions(const Lexicon& lexicon, const Analysis& a, const Analysis& b, Findings& findings) {
  for (const Direction& one : a.directions) {
    for (const Direction& other : b.directions) {
      if (!changed_sides(lexicon, a, one, other)) continue;
      findings.add(GuardKind::direction, GuardStrength::replaced, [&] {
        const bool whole = one.left[0] != 0 && one.right[0] != 0;
        const Direction& full = whole ? one : other;
        const Analysis& from = whole ? a : b;
        std::string words;
        for (std::size_t side = 0; side < 2; ++side) {
          if ((side == 0 ? full.left[0] : full.right[0]) == 0) continue;
          words += (words.empty() ? "" : " and ") + shown(from, full.shown[side]);
        }
        return words + " on other sides of '" + shown(from, full.term) + "'";
      });
      return;
    }
  }
}

void compare(const Lexicon& lexicon, const Analysis& a, const Analysis& b, Findings& findings) {
  const Overlap overlap(a, b);
  compare_languages(lexicon, a, b, findings);
  compare_numbers(a, b, overlap, findings);
  compare_units(lexicon, a, b, overlap, findings);
  compare_dates(a, b, findings);
  compare_quotes_and_code(a, b, findings);
  compare_names(a, b, overlap, findings);
  if (!a.english || !b.english) return;
  compare_substitutions(a, b, overlap, findings);
  compare_choices_and_negations(lexicon, a, b, overlap, findings);
  compare_questions(lexicon, a, b, findings);
  if (overlap.differ_by_at_most(1)) compare_directions(lexicon, a, b, findings);
}

}  // namespace promptcache::guards
