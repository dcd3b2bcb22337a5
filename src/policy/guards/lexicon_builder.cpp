#include "policy/guards/lexicon_builder.hpp"

#include <algorithm>
#include <utility>

#include "policy/guards/words.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache::guards {
namespace {

void add_fact(std::vector<Fact>& facts, const Fact& fact) {
  if (std::find(facts.begin(), facts.end(), fact) == facts.end()) facts.push_back(fact);
}

}  // namespace

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

LexiconBuilder::LexiconBuilder(std::string place) : place_(std::move(place)), lexicon_(std::make_shared<Lexicon>()) {
  lexicon_->words_.emplace_back();  // position 0: no word
  lexicon_->expansions_.emplace_back();
  lexicon_->sets_.emplace_back();
  for (auto* names : {&lexicon_->dimensions_, &lexicon_->units_, &lexicon_->questions_, &lexicon_->languages_}) {
    names->emplace_back();
  }
}

void LexiconBuilder::fail(std::string_view found, const std::string& wanted) const {
  throw Error(ErrorCode::format, {place_, line_}, "'" + std::string(found) + "'", wanted);
}

std::uint16_t LexiconBuilder::counted(std::size_t number) const {
  if (number > 0xFFFF) fail(std::to_string(number) + " of them", "at most 65535 sets, units, members or types");
  return static_cast<std::uint16_t>(number);
}
Analysis LexiconBuilder::cut_up(std::string_view text) const {
  Analysis cut;
  normalize(text, cut.text);
  cut_into_terms(nullptr, cut);
  if (cut.terms.empty()) fail(text, "a word");
  return cut;
}

LexiconBuilder::Spelling LexiconBuilder::spelling(std::string_view text, bool inflected) {
  Spelling result;
  if (text.size() > 1 && text.back() == '!') {
    result.weak = true;
    text.remove_suffix(1);
  }
  const std::size_t gap = text.find(" ... ");
  if (gap != std::string_view::npos) {
    const Analysis first = cut_up(text.substr(0, gap));
    const Analysis last = cut_up(text.substr(gap + 5));
    if (first.terms.size() != 1 || last.terms.size() != 1) fail(text, "one word on each side of ' ... '");
    const std::uint64_t stems = hash_with_next(first.terms[0].stem, last.terms[0].stem);
    entry(first.terms[0].stem ^ Lexicon::stem_salt, first.terms[0].stem).gap_phrase = true;
    result.entry = position(stems ^ Lexicon::gap_salt, stems);
    return result;
  }
  const Analysis cut = cut_up(text);
  const std::uint64_t stem = cut.terms[0].stem;
  if (cut.terms.size() == 1) {
    const std::string_view form = cut.text_of(0);
    const bool by_stem = inflected && !result.weak;
    result.entry = position(by_stem ? stem ^ Lexicon::stem_salt : hash_of(form), stem);
    if (!by_stem) entries_[result.entry].stem = stem;
    return result;
  }
  std::uint64_t stems = stem;
  for (std::size_t i = 1; i < cut.terms.size(); ++i) stems = hash_with_next(stems, cut.terms[i].stem);
  if (cut.terms.size() > 8) fail(text, "a phrase of at most eight words");
  Entry& first = entry(stem ^ Lexicon::stem_salt, stem);
  first.longest_phrase = std::max(first.longest_phrase, static_cast<std::uint8_t>(cut.terms.size()));
  result.entry = position(stems ^ Lexicon::phrase_salt, stems);
  return result;
}

std::size_t LexiconBuilder::position(std::uint64_t key, std::uint64_t own) {
  const auto [place, is_new] = keys_.try_emplace(key, entries_.size());
  if (is_new) {
    entries_.emplace_back();
    entries_.back().own = own;
  }
  return place->second;
}
std::uint64_t LexiconBuilder::sense_of(std::size_t position) {
  Entry& entry = entries_[position];
  if (entry.sense == 0) entry.sense = entry.own;
  return entry.sense;
}

std::size_t LexiconBuilder::add(std::string_view text, bool inflected, Fact fact) {
  const Spelling place = spelling(text, inflected);
  fact.weak = fact.weak || place.weak;
  add_fact(entries_[place.entry].facts, fact);
  return place.entry;
}

void LexiconBuilder::add_synonyms(std::string_view words, const Fact& fact) {
  std::uint64_t sense = 0;
  for (const std::string_view word : split(words, ',')) {
    const std::size_t place = add(word, true, fact);
    if (sense == 0) sense = sense_of(place);
    if (entries_[place].sense == 0) entries_[place].sense = sense;
  }
}

void LexiconBuilder::share_facts() {
  // What holds for a word holds for those that mean the same, and what holds for a stem for the forms in the lists.
  for (int round = 0; round < 2; ++round) {
    for (Entry& entry : entries_) {
      const std::vector<std::size_t> same_as = entry.same_as;
      for (const std::size_t other : same_as) {
        const std::vector<Fact> facts = entries_[other].facts;
        for (const Fact& fact : facts) add_fact(entry.facts, fact);
      }
    }
  }
  for (Entry& entry : entries_) {
    if (entry.stem == 0) continue;
    const auto place = keys_.find(entry.stem ^ Lexicon::stem_salt);
    if (place == keys_.end()) continue;
    const Entry& stem = entries_[place->second];
    for (const Fact& fact : stem.facts) add_fact(entry.facts, fact);
    entry.longest_phrase = stem.longest_phrase;
    entry.gap_phrase = stem.gap_phrase;
    if (entry.sense == 0) entry.sense = stem.sense;
  }
}

void LexiconBuilder::finish() {
  share_facts();
  std::size_t slots = 1024;
  while (slots < 4 * keys_.size()) slots *= 2;
  lexicon_->slots_.resize(slots);
  for (const Entry& entry : entries_) {
    Word word;
    word.first_fact = static_cast<std::uint32_t>(lexicon_->facts_.size());
    word.facts = counted(entry.facts.size());
    for (const Fact& fact : entry.facts) word.roles |= 1U << static_cast<unsigned>(fact.role);
    lexicon_->facts_.insert(lexicon_->facts_.end(), entry.facts.begin(), entry.facts.end());
    word.longest_phrase = entry.longest_phrase;
    word.gap_phrase = entry.gap_phrase;
    word.sense = entry.sense;
    word.expansion = entry.expansion;
    lexicon_->words_.push_back(word);
  }
  for (const auto& [key, position] : keys_) {
    std::size_t i = key & (slots - 1);
    while (lexicon_->slots_[i].word != 0) i = (i + 1) & (slots - 1);
    lexicon_->slots_[i] = {key, static_cast<std::uint32_t>(position + 1)};
  }
  for (std::vector<ExpandedWord>& words : lexicon_->expansions_) {
    for (ExpandedWord& word : words) {
      Stem stem;
      const std::uint64_t form = hash_of(word.text);
      word.word = lexicon_->find(form, stem_of(word.text, stem) ? hash_of(stem.view()) : form);
    }
  }
}

}  // namespace promptcache::guards
