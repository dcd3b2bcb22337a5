#include "policy/guards/analysis.hpp"

#include <algorithm>
#include <utility>  // exchange

#include "policy/guards/words.hpp"

namespace promptcache::guards {
namespace {

Script script_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  char32_t c = byte(0);
  if (c < 0x80) return Script::latin;
  if (c < 0xE0) {
    c = ((c & 0x1FU) << 6) | (byte(1) & 0x3FU);
  } else if (c < 0xF0) {
    c = ((c & 0x0FU) << 12) | ((byte(1) & 0x3FU) << 6) | (byte(2) & 0x3FU);
  } else {
    return c == 0xF0 && byte(1) >= 0xA0 ? Script::han : Script::other;
  }
  if (c < 0x250 || (c >= 0x1E00 && c < 0x1F00)) return Script::latin;
  if ((c >= 0x370 && c < 0x400) || (c >= 0x1F00 && c < 0x2000)) return Script::greek;
  if (c >= 0x400 && c < 0x530) return Script::cyrillic;
  if (c >= 0x590 && c < 0x600) return Script::hebrew;
  if (c >= 0x600 && c < 0x780) return Script::arabic;
  if (c >= 0x900 && c < 0xE00) return Script::indic;
  if (c >= 0xE00 && c < 0xE80) return Script::thai;
  if ((c >= 0x1100 && c < 0x1200) || (c >= 0xAC00 && c < 0xD7B0)) return Script::hangul;
  if (c >= 0x3040 && c < 0x3100) return Script::kana;
  if (c >= 0x2E80 && c < 0xA000) return Script::han;
  return Script::other;
}

/// The most frequent script, by terms; Japanese counts as kana wherever it has any.
Script main_script(const Analysis& out) {
  std::array<std::size_t, static_cast<std::size_t>(Script::other) + 1> counts{};
  for (const Term& term : out.terms) {
    if (term.is(Term::letters) && !term.is(Term::code))
      ++counts[static_cast<std::size_t>(script_of(out.text_of(term)))];
  }
  auto& han = counts[static_cast<std::size_t>(Script::han)];
  auto& kana = counts[static_cast<std::size_t>(Script::kana)];
  if (kana > 0) kana += std::exchange(han, 0);
  const auto most = std::max_element(counts.begin(), counts.end());
  return *most == 0 ? Script::none : static_cast<Script>(most - counts.begin());
}

/// Whether capitals tell names from other words: some words have one, and this is neither a title nor shouting.
bool do_capitals_speak(const Analysis& out) {
  std::size_t words = 0;
  std::size_t capitals = 0;
  std::size_t shouted = 0;
  std::size_t functions = 0;
  std::size_t capital_functions = 0;
  for (const Term& term : out.terms) {
    if (!term.is(Term::letters) || term.is(Term::code) || term.size < 2) continue;
    shouted += term.is(Term::all_capitals) ? 1U : 0U;
    ++words;
    if (term.is(Term::starts_sentence)) continue;
    capitals += term.is(Term::capital) ? 1U : 0U;
    if (term.is(Term::ignored)) {
      ++functions;
      capital_functions += term.is(Term::capital) ? 1U : 0U;
    }
  }
  if (words >= 3 && 2 * shouted > words) return false;
  if (functions > 0 && 2 * capital_functions > functions) return false;
  return capitals > 0 && (functions > 0 || words <= 3 || 2 * capitals <= words);
}

void make_known(Analysis& out) {
  std::size_t slots = 16;
  while (slots < 4 * out.terms.size() + 8) slots *= 2;
  out.known.assign(slots, 0);
  const auto insert = [&](std::uint64_t value) {
    std::size_t i = value & (slots - 1);
    while (out.known[i] != 0 && out.known[i] != value) i = (i + 1) & (slots - 1);
    out.known[i] = value;
  };
  for (const Term& term : out.terms) {
    insert(term.stem);
    if (term.sense != term.stem) insert(term.sense);
  }
}

}  // namespace

void Analysis::clear() {
  text.clear();
  folded.clear();
  terms.clear();
  known.clear();
  numbers.clear();
  units.clear();
  dates.clear();
  quotes.clear();
  codes.clear();
  names.clear();
  choices.clear();
  negations.clear();
  directions.clear();
  questions.clear();
  soft_negation = english = english_words = capitals_speak = false;
  foreign = 0;
  script = Script::none;
}

void find_phrases(const Lexicon& lexicon, Analysis& out) {
  constexpr std::size_t longest_gap = 4;
  auto& terms = out.terms;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].is(Term::swallowed)) continue;
    const Word& first = lexicon.word(terms[i].word);
    if (first.longest_phrase > 0 && !terms[i].is(Term::code)) {
      std::uint64_t stems = terms[i].stem;
      std::uint32_t found = 0;
      std::uint64_t found_stems = 0;
      std::size_t length = 0;
      const std::size_t end = std::min(terms.size(), i + first.longest_phrase);
      for (std::size_t k = i + 1; k < end && !terms[k].is(Term::starts_sentence); ++k) {
        stems = hash_with_next(stems, terms[k].stem);
        if (const std::uint32_t word = lexicon.find_phrase(stems)) {
          found = word;
          found_stems = stems;
          length = k - i;
        }
      }
      if (found != 0) {
        terms[i].word = found;
        terms[i].stem = found_stems;
        terms[i].sense = lexicon.word(found).sense != 0 ? lexicon.word(found).sense : found_stems;
        terms[i].swallows = static_cast<std::uint16_t>(length);
        for (std::size_t k = i + 1; k <= i + length; ++k) terms[k].flags |= Term::swallowed;
      }
    }
    if (first.gap_phrase && terms[i].swallows == 0) {
      const std::size_t end = std::min(terms.size(), i + longest_gap + 2);
      for (std::size_t k = i + 1; k < end && !terms[k].is(Term::starts_sentence); ++k) {
        const std::uint64_t stems = hash_with_next(terms[i].stem, terms[k].stem);
        const std::uint32_t word = lexicon.find_gap_phrase(stems);
        if (word == 0) continue;
        terms[i].word = word;
        terms[i].stem = stems;
        terms[i].sense = lexicon.word(word).sense != 0 ? lexicon.word(word).sense : stems;
        terms[i].flags |= Term::gapped;
        terms[k].flags |= Term::swallowed;
        break;
      }
    }
    const Word& said = lexicon.word(terms[i].word);
    if (said.is(Role::ignored) || said.is(Role::question)) terms[i].flags |= Term::ignored;
  }
}

void find_language(const Lexicon& lexicon, Analysis& out) {
  constexpr std::size_t languages = 16;
  constexpr std::size_t few_words = 6;
  std::array<std::size_t, languages> foreign{};
  std::size_t english = 0;
  std::size_t words = 0;
  for (const Term& term : out.terms) {
    if (!term.is(Term::letters) || term.is(Term::code)) continue;
    ++words;
    const Word& word = lexicon.word(term.word);
    if (word.is(Role::english)) ++english;
    if (!word.is(Role::foreign)) continue;
    for (const Fact& fact : lexicon.facts(term.word)) {
      if (fact.role == Role::foreign && fact.set < languages) ++foreign[fact.set];
    }
  }
  const auto most = std::max_element(foreign.begin(), foreign.end());
  out.script = main_script(out);
  out.english_words = english >= 2 && *most < english;
  out.english = (out.script == Script::latin || out.script == Script::none) && *most <= english &&
                (8 * english >= words || (words <= few_words && *most == 0));
  if (*most >= 2 && *most > 2 * english) out.foreign = static_cast<std::uint16_t>(most - foreign.begin());
  out.capitals_speak = do_capitals_speak(out);
}

void find_names(const Lexicon& lexicon, Analysis& out) {
  static_cast<void>(lexicon);
  if (!out.capitals_speak) return;
  for (std::size_t i = 0; i < out.terms.size(); ++i) {
    const Term& term = out.terms[i];
    if (!is_content(term) || term.is(Term::code) || term.is(Term::contracted)) continue;
    const bool shaped = (term.is(Term::capital) && !term.is(Term::starts_sentence)) || term.is(Term::all_capitals) ||
                        term.is(Term::inner_capital);
    if (shaped && out.names.size() < most_items) out.names.push_back(static_cast<std::uint32_t>(i));
  }
}

void find_choices(const Lexicon& lexicon, Analysis& out) {
  if (!out.english) return;
  for (std::size_t i = 0; i < out.terms.size(); ++i) {
    const Term& term = out.terms[i];
    if (term.is(Term::swallowed) || term.is(Term::code)) continue;
    const Word& word = lexicon.word(term.word);
    if (!word.is(Role::alternative) && !word.is(Role::degree)) continue;
    const bool name = term.is(Term::all_capitals) ||
                      (out.capitals_speak && term.is(Term::capital) && !term.is(Term::starts_sentence));
    for (const Fact& fact : lexicon.facts(term.word)) {
      if (fact.role != Role::alternative && fact.role != Role::degree) continue;
      if (fact.weak && !name) continue;
      if (out.choices.size() < most_items) {
        out.choices.push_back({fact.set, fact.member, static_cast<std::uint32_t>(i)});
      }
    }
  }
}

void analyse(const Lexicon& lexicon, std::string_view text, std::size_t max_bytes, Analysis& out) {
  out.clear();
  text = shortened(text, max_bytes);
  normalize(text, out.text);
  out.folded.reserve(out.text.size() + 16);
  out.terms.reserve(out.text.size() / 4 + 4);
  cut_into_terms(&lexicon, out);
  find_phrases(lexicon, out);
  find_language(lexicon, out);
  find_numbers(lexicon, out);
  find_dates(lexicon, out);
  find_names(lexicon, out);
  find_choices(lexicon, out);
  find_negations(lexicon, out);
  find_questions(lexicon, out);
  find_directions(lexicon, out);
  make_known(out);
}

}  // namespace promptcache::guards
