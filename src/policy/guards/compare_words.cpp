#include <algorithm>
#include <optional>

#include "policy/guards/compare.hpp"
#include "policy/guards/words.hpp"

namespace promptcache::guards {
namespace {

/// Looking for one word among all in other spellings takes a pass over them: no more than so many.
constexpr std::size_t most_unmet = 24;
/// Longer prompts are compared without looking for misspelled words and acronyms.
constexpr std::size_t most_compared = 512;

const Term* term_at(const Analysis& of, std::size_t begin) {
  const auto place = std::lower_bound(of.terms.begin(), of.terms.end(), begin,
                                      [](const Term& term, std::size_t value) { return term.begin < value; });
  return place != of.terms.end() && place->begin == begin ? &*place : nullptr;
}

bool ends_at(const Analysis& of, std::size_t end) { return end == of.folded.size() || term_at(of, end) != nullptr; }

/// Whether the initials of words of `of` in a row spell this acronym; function words may be left out.
bool has_initials(const Analysis& of, std::string_view acronym, std::optional<std::uint32_t> within = {}) {
  for (std::size_t i = 0; i < of.terms.size(); ++i) {
    std::size_t k = i;
    std::size_t matched = 0;
    bool inside = !within;
    while (k < of.terms.size() && matched < acronym.size() && k - i < 2 * acronym.size()) {
      if (of.folded[of.terms[k].begin] == acronym[matched]) {
        inside = inside || k == *within;
        ++matched;
      } else if (!of.terms[k].is(Term::ignored) || k == i) {
        break;
      }
      ++k;
    }
    if (matched == acronym.size() && inside) return true;
  }
  return false;
}

bool is_acronym(const Analysis& of, const Term& term) {
  if (term.size < 2 || term.size > 6) return false;
  const std::string_view text = of.text_of(term);
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

/// "Canada" and "Canadian", "invest" and "investment".
bool share_root(std::string_view one, std::string_view other) {
  const auto [end, _] = std::mismatch(
      one.begin(), one.begin() + static_cast<std::ptrdiff_t>(std::min(one.size(), other.size())), other.begin());
  const auto common = static_cast<std::size_t>(end - one.begin());
  const std::size_t rest = std::max(one.size(), other.size()) - common;
  if (common == 4 && common == std::min(one.size(), other.size())) return rest <= 3;  // "Serb" and "Serbian"
  return common >= 5 && rest <= 4;
}

}  // namespace

bool has_run(const Analysis& b, std::string_view folded) {
  if (folded.empty()) return true;
  const std::string_view text = b.folded;
  std::size_t tries = 0;
  for (std::size_t at = text.find(folded); at != std::string_view::npos && ++tries < 64;
       at = text.find(folded, at + 1)) {
    if (term_at(b, at) != nullptr && ends_at(b, at + folded.size())) return true;
  }
  return false;
}

bool same_slot(const Analysis& a, std::uint32_t one, const Analysis& b, std::uint32_t other) {
  const auto before = [](const Analysis& of, std::uint32_t term) -> const Term* {
    if (term == 0 || of.terms[term].is(Term::starts_sentence)) return nullptr;
    const std::string_view text = of.text_of(term - 1);
    return text == "a" || text == "an" || text == "the" ? nullptr : &of.terms[term - 1];
  };
  const auto after = [](const Analysis& of, std::uint32_t term) -> const Term* {
    const std::size_t next = std::size_t{term} + 1 + of.terms[term].swallows;
    return next < of.terms.size() && !of.terms[next].is(Term::starts_sentence) ? &of.terms[next] : nullptr;
  };
  const auto same = [](const Term* x, const Term* y) { return x != nullptr && y != nullptr && x->sense == y->sense; };
  return same(before(a, one), before(b, other)) || same(after(a, one), after(b, other));
}

bool is_met(const Analysis& a, std::uint32_t position, const Analysis& b) {
  const Term& term = a.terms[position];
  if (b.knows(term.sense) || b.knows(term.stem)) return true;
  const std::string_view text = a.text_of(term);
  if (text.size() < 2 || term.is(Term::gapped)) return false;
  if (term.swallows == 0 && has_run(b, text)) return true;
  if (term.swallows > 0 && has_run(b, a.text_of(Span{position, position + 1U + term.swallows}))) return true;
  if (position > 0 && has_run(b, a.text_of(Span{position - 1, position + 1}))) return true;
  if (position + 1 < a.terms.size() && has_run(b, a.text_of(Span{position, position + 2}))) return true;
  if (is_acronym(a, term) && (term.is(Term::all_capitals) || text.size() >= 3) && has_initials(b, text)) return true;
  if (b.terms.size() > most_compared || a.terms.size() > most_compared) return false;
  for (const Term& other : b.terms) {
    if (!other.is(Term::letters) || (other.is(Term::ignored) && !other.is(Term::all_capitals))) continue;
    if (other.is(Term::all_capitals) && is_acronym(b, other) && has_initials(a, b.text_of(other), position)) {
      return true;
    }
    if (term.word != 0 && other.word != 0) continue;  // both are known not to be the same
    const std::string_view candidate = b.text_of(other);
    if (share_root(text, candidate) || nearly_equal(text, candidate)) return true;
  }
  return false;
}

namespace {

/// Words of `a` that `b` lacks.
struct Unmet {
  std::vector<std::uint32_t> terms;
  std::size_t met = 0;
  bool too_many = false;
};

template <class Positions>
Unmet unmet_words(const Analysis& a, const Analysis& b, const Positions& positions) {
  Unmet unmet;
  for (const std::uint32_t position : positions) {
    const Term& term = a.terms[position];
    if (b.knows(term.sense) || b.knows(term.stem)) {
      ++unmet.met;
    } else if (unmet.terms.size() >= most_unmet) {
      unmet.too_many = true;
      break;
    } else if (is_met(a, position, b)) {
      ++unmet.met;
    } else {
      unmet.terms.push_back(position);
    }
  }
  return unmet;
}

/// Whether a neighbouring name is met: of "Bill Clinton" and "Hillary Clinton" only the first names differ.
std::uint64_t met_neighbour(const Analysis& a, std::uint32_t position, const Analysis& b) {
  for (const std::uint32_t other : {position - 1, position + 1}) {
    if (other >= a.terms.size() || !a.terms[other].is(Term::capital) || a.terms[other].is(Term::ignored)) continue;
    if (a.terms[std::max(position, other)].is(Term::starts_clause)) continue;
    if (b.knows(a.terms[other].sense)) return a.terms[other].sense;
  }
  return 0;
}

}  // namespace

void compare_names(const Analysis& a, const Analysis& b, const Overlap& overlap, Findings& findings) {
  if (a.names.empty() && b.names.empty()) return;
  const Unmet in_a = unmet_words(a, b, a.names);
  const Unmet in_b = unmet_words(b, a, b.names);
  for (const std::uint32_t one : in_a.terms) {
    const std::uint64_t beside = met_neighbour(a, one, b);
    for (const std::uint32_t other : in_b.terms) {
      if (met_neighbour(b, other, a) != beside) continue;
      if (beside == 0 && !same_slot(a, one, b, other) && !overlap.differ_by_at_most(1)) continue;
      findings.add(GuardKind::name, GuardStrength::replaced,
                   [&] { return replaced_words(shown(a, one), shown(b, other)); });
      return;
    }
  }
  if (!in_a.terms.empty()) {
    findings.add(GuardKind::name, GuardStrength::missing, [&] { return missing_words(shown(a, in_a.terms[0])); });
  } else if (!in_b.terms.empty()) {
    findings.add(GuardKind::name, GuardStrength::missing, [&] { return missing_words(shown(b, in_b.terms[0])); });
  }
}

namespace {

std::vector<std::uint32_t> content_words(const Analysis& of) {
  std::vector<std::uint32_t> words;
  words.reserve(of.terms.size());
  for (std::size_t i = 0; i < of.terms.size(); ++i) {
    if (is_content(of.terms[i])) words.push_back(static_cast<std::uint32_t>(i));
  }
  return words;
}

}  // namespace

Overlap::Overlap(const Analysis& a, const Analysis& b) {
  constexpr std::size_t most_words = 64;
  constexpr std::size_t most_different = 4;
  const std::vector<std::uint32_t> words_a = content_words(a);
  const std::vector<std::uint32_t> words_b = content_words(b);
  if (words_a.size() > most_words || words_b.size() > most_words) return;
  Unmet in_a = unmet_words(a, b, words_a);
  if (in_a.terms.size() > most_different) return;
  Unmet in_b = unmet_words(b, a, words_b);
  only_a = std::move(in_a.terms);
  only_b = std::move(in_b.terms);
  common = std::min(in_a.met, in_b.met);
  known = only_b.size() <= most_different;
}

namespace {

/// Whether both prompts are the same words in the same order but for these two, function words and all.
bool only_these_differ(const Analysis& a, std::uint32_t one, const Analysis& b, std::uint32_t other) {
  if (one != other || a.terms.size() != b.terms.size() || a.terms.size() < 3) return false;
  for (std::size_t i = 0; i < a.terms.size(); ++i) {
    if (i != one && a.terms[i].sense != b.terms[i].sense && a.terms[i].stem != b.terms[i].stem) return false;
  }
  return true;
}

}  // namespace

void compare_substitutions(const Analysis& a, const Analysis& b, const Overlap& overlap, Findings& findings) {
  if (overlap.common == 0 || !overlap.differ_by_at_most(1)) return;
  if (!overlap.only_a.empty() && !overlap.only_b.empty()) {
    const bool alone = only_these_differ(a, overlap.only_a[0], b, overlap.only_b[0]);
    findings.add(GuardKind::substitution, alone ? GuardStrength::replaced : GuardStrength::missing,
                 [&] { return replaced_words(shown(a, overlap.only_a[0]), shown(b, overlap.only_b[0])); });
  } else if (!overlap.only_a.empty()) {
    findings.add(GuardKind::substitution, GuardStrength::missing,
                 [&] { return missing_words(shown(a, overlap.only_a[0])); });
  } else if (!overlap.only_b.empty()) {
    findings.add(GuardKind::substitution, GuardStrength::missing,
                 [&] { return missing_words(shown(b, overlap.only_b[0])); });
  }
}

void compare_quotes_and_code(const Analysis& a, const Analysis& b, Findings& findings) {
  constexpr auto always = [](const auto&, const auto&) { return true; };
  if (!a.quotes.empty() || !b.quotes.empty()) {
    const auto met = [&](Span quote, bool in_a) { return has_run(in_a ? b : a, (in_a ? a : b).text_of(quote)); };
    const auto text = [](const Analysis& of, Span quote) {
      std::string words;
      for (std::uint32_t i = quote.begin; i < quote.end && words.size() < 60; ++i) {
        if (!words.empty()) words += ' ';
        words += of.text_of(i);
      }
      return "\"" + words + "\"";
    };
    const auto report = [&](const Span* one, const Span* other) {
      if (one != nullptr && other != nullptr) {
        findings.add(GuardKind::quotation, GuardStrength::replaced,
                     [&] { return replaced_words(text(a, *one), text(b, *other)); });
      } else {
        findings.add(GuardKind::quotation, GuardStrength::missing,
                     [&] { return missing_words(one != nullptr ? text(a, *one) : text(b, *other)); });
      }
    };
    compare_items(a.quotes, b.quotes, met, always, report);
  }
  if (a.codes.empty() && b.codes.empty()) return;
  const auto met = [&](const Code& code, bool in_a) {
    const Analysis& other = in_a ? b : a;
    const Analysis& own = in_a ? a : b;
    for (const Code& candidate : other.codes) {
      if (candidate.text == code.text) return true;
    }
    const std::string_view flat = own.text_of(code.terms);
    const auto letters = std::count_if(flat.begin(), flat.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    return letters >= 3 && has_run(other, flat);  // node.js is nodejs, get_user is getUser
  };
  const auto report = [&](const Code* one, const Code* other) {
    const auto text = [](const Analysis& of, const Code& code) {
      const std::string_view flat = of.text_of(code.terms);
      return flat.empty() ? std::string("a piece of code") : std::string(shortened(flat, 60));
    };
    if (one != nullptr && other != nullptr) {
      findings.add(GuardKind::code, GuardStrength::replaced,
                   [&] { return replaced_words(text(a, *one), text(b, *other)); });
    } else {
      findings.add(GuardKind::code, GuardStrength::missing,
                   [&] { return missing_words(one != nullptr ? text(a, *one) : text(b, *other)); });
    }
  };
  compare_items(a.codes, b.codes, met, always, report);
}

namespace {

/// The kind of a set's findings is for the caller to look up; this only pairs members.
struct ChoicePair {
  const Choice* one = nullptr;
  const Choice* other = nullptr;
};

bool has_member(const std::vector<Choice>& choices, const Choice& choice) {
  return std::any_of(choices.begin(), choices.end(), [&](const Choice& candidate) {
    return candidate.set == choice.set && candidate.member == choice.member;
  });
}

bool has_only_here(const Choice& choice, const Analysis& own, const Analysis& other) {
  return !has_member(other.choices, choice) && !is_met(own, choice.term, other);
}

std::string set_words(const Lexicon& lexicon, const Choice& choice, std::string words) {
  const AlternativeSet& set = lexicon.set(choice.set);
  return set.kind == GuardKind::antonym || set.kind == GuardKind::degree ? words : set.name + ": " + words;
}

/// Only here it says something that the other lacks it: other sets have words that are left out without loss.
bool may_be_missing(GuardKind kind) {
  return kind == GuardKind::name || kind == GuardKind::date || kind == GuardKind::language || kind == GuardKind::format;
}

/// Reports alternatives of all kinds but antonyms; returns the first exchanged antonyms.
ChoicePair compare_choices(const Lexicon& lexicon, const Analysis& a, const Analysis& b, const Overlap& overlap,
                           Findings& findings) {
  ChoicePair antonym;
  std::vector<const Choice*> only_b;
  for (const Choice& choice : b.choices) {
    if (has_only_here(choice, b, a)) only_b.push_back(&choice);
  }
  const auto missing = [&](const Analysis& of, const Choice& one) {
    const GuardKind kind = lexicon.set(one.set).kind;
    if (!may_be_missing(kind)) return;
    findings.add(kind, GuardStrength::missing,
                 [&] { return set_words(lexicon, one, missing_words(shown(of, one.term))); });
  };
  for (const Choice& one : a.choices) {
    if (!has_only_here(one, a, b)) continue;
    const auto place = std::find_if(only_b.begin(), only_b.end(), [&](const Choice* c) { return c->set == one.set; });
    if (place == only_b.end()) {
      missing(a, one);
      continue;
    }
    const Choice* other = *place;
    const GuardKind kind = lexicon.set(one.set).kind;
    if (kind == GuardKind::antonym) {
      if (antonym.one == nullptr) antonym = {&one, other};
      continue;
    }
    if (kind == GuardKind::degree && (one.member == 0 || other->member == 0)) continue;  // "near me" and "nearest"
    const bool weak = (kind == GuardKind::category && !overlap.differ_by_at_most(2)) ||
                      (kind == GuardKind::person && !overlap.differ_by_at_most(0)) ||
                      (kind == GuardKind::tense && !overlap.differ_by_at_most(2));
    findings.add(kind, weak ? GuardStrength::missing : GuardStrength::replaced,
                 [&] { return set_words(lexicon, one, replaced_words(shown(a, one.term), shown(b, other->term))); });
  }
  for (const Choice* one : only_b) missing(b, *one);  // one that was paired has a stronger finding already
  return antonym;
}

}  // namespace

void compare_choices_and_negations(const Lexicon& lexicon, const Analysis& a, const Analysis& b, const Overlap& overlap,
                                   Findings& findings) {
  const ChoicePair antonym = compare_choices(lexicon, a, b, overlap, findings);
  const bool exchanged = antonym.one != nullptr;
  const bool odd = (a.negations.size() + b.negations.size()) % 2 == 1;
  if (exchanged && odd) return;  // "not safe" and "unsafe"
  if (exchanged) {
    const bool close = overlap.differ_by_at_most(2);  // in prompts that differ anyhow opposites say little
    findings.add(GuardKind::antonym, close ? GuardStrength::replaced : GuardStrength::missing,
                 [&] { return replaced_words(shown(a, antonym.one->term), shown(b, antonym.other->term)); });
  }
  const auto words = [](const Analysis& of, const Negation& negation) {
    std::string text = shown(of, negation.term);
    if (negation.term + 1 < of.terms.size()) text += " " + shown(of, negation.term + 1);
    return text;
  };
  if (odd) {
    const Analysis& denying = a.negations.size() > b.negations.size() ? a : b;
    const Analysis& other = &denying == &a ? b : a;
    if (other.soft_negation) return;  // "does not work" and "fails"
    const Negation& negation = denying.negations.front();
    const bool direct = other.negations.empty() && negation.denied != 0 && other.knows(negation.denied) &&
                        overlap.differ_by_at_most(1) && overlap.only_a.size() + overlap.only_b.size() <= 1;
    findings.add(GuardKind::negation, direct ? GuardStrength::replaced : GuardStrength::missing,
                 [&] { return missing_words(words(denying, negation)); });
  } else if (a.negations.size() == 1 && b.negations.size() == 1) {
    const Negation& one = a.negations.front();
    const Negation& other = b.negations.front();
    // "Why isn't it working" and "why is it not working" deny the same before and after the subject.
    if (a.terms[one.term].is(Term::contracted) || b.terms[other.term].is(Term::contracted)) return;
    if (one.denied == 0 || other.denied == 0 || one.denied == other.denied) return;
    if (!a.knows(other.denied) || !b.knows(one.denied) || !overlap.differ_by_at_most(1)) return;
    findings.add(GuardKind::negation, GuardStrength::replaced,
                 [&] { return replaced_words(words(a, one), words(b, other)); });
  }
}

}  // namespace promptcache::guards
