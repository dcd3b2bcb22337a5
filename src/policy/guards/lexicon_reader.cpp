#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "policy/guards/analysis.hpp"
#include "policy/guards/lexicon.hpp"
#include "policy/guards/words.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache::guards {
namespace {

std::string_view trimmed(std::string_view text) {
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

/// A comment begins with `#` at the beginning of a line or after a blank, so that C# is a word.
std::string_view without_comment(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) return line.substr(0, i);
  }
  return line;
}

std::optional<GuardKind> kind_of(std::string_view name) {
  for (std::size_t i = 0; i < guard_kind_count; ++i) {
    if (name == to_string(static_cast<GuardKind>(i))) return static_cast<GuardKind>(i);
  }
  return std::nullopt;
}

/// Sections whose lines are lists of words with one role.
struct ListSection {
  std::string_view name;
  Role role;
  bool inflected;
};
constexpr ListSection list_sections[] = {
    {"english", Role::english, false},
    {"ignored", Role::ignored, false},
    {"subjects", Role::subject, false},
    {"auxiliaries", Role::auxiliary, false},
    {"negators", Role::negator, false},
    {"soft negators", Role::soft_negator, true},
    {"harmless negators", Role::harmless_negator, false},
    {"source", Role::source, false},
    {"target", Role::target, false},
    {"directed verbs", Role::directed_verb, true},
    {"conversion verbs", Role::conversion_verb, true},
    {"introducers", Role::introducer, false},
    {"agents", Role::agent, false},
    {"time prepositions", Role::time_preposition, false},
};

/// Sections of lines "word, word = value".
struct ValueSection {
  std::string_view name;
  Role role;
  bool inflected;
};
constexpr ValueSection value_sections[] = {{"numbers", Role::number, false},
                                           {"multipliers", Role::multiplier, true},
                                           {"ordinals", Role::ordinal, false},
                                           {"months", Role::month, false}};

}  // namespace

class LexiconReader {
 public:
  LexiconReader(std::string_view text, const std::string& place) : place_(place), lexicon_(new Lexicon) {
    lexicon_->words_.emplace_back();  // position 0: no word
    lexicon_->expansions_.emplace_back();
    lexicon_->sets_.emplace_back();
    for (auto* names : {&lexicon_->dimensions_, &lexicon_->units_, &lexicon_->questions_, &lexicon_->languages_}) {
      names->emplace_back();
    }
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      ++line_;
      read_line(trimmed(without_comment(text.substr(0, end))));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    finish();
  }

  std::shared_ptr<const Lexicon> lexicon() { return std::move(lexicon_); }

 private:
  /// A word or phrase while the lists are read.
  struct Entry {
    std::vector<Fact> facts;
    std::uint64_t sense = 0;
    std::uint64_t own = 0;   // hash of the stem or of the phrase
    std::uint64_t stem = 0;  // of a single word that is entered by its form; 0 otherwise
    std::vector<std::size_t> same_as;
    std::uint8_t longest_phrase = 0;
    bool gap_phrase = false;
    std::uint16_t expansion = 0;
  };
  struct Spelling {
    std::size_t entry = 0;
    bool weak = false;
  };

  [[noreturn]] void fail(std::string_view found, const std::string& wanted) const {
    throw Error(ErrorCode::format, {place_, line_}, "'" + std::string(found) + "'", wanted);
  }

  void read_line(std::string_view line) {
    if (line.empty()) return;
    if (line.front() == '[') {
      if (line.back() != ']') fail(line, "a section like [negators]");
      begin_section(trimmed(line.substr(1, line.size() - 2)));
      return;
    }
    if (!read_) fail(line, "a section like [negators] before the first words");
    (this->*read_)(line);
  }

  void begin_section(std::string_view name) {
    for (const ListSection& section : list_sections) {
      if (section.name == name) return begin_list({section.role}, section.inflected);
    }
    for (const ValueSection& section : value_sections) {
      if (section.name != name) continue;
      begin_list({section.role}, section.inflected);
      read_ = &LexiconReader::read_value;
      return;
    }
    if (name == "contractions") return begin(&LexiconReader::read_contraction);
    if (name == "same") return begin(&LexiconReader::read_same);
    if (name == "antonyms") return begin(&LexiconReader::read_antonyms);
    if (name == "degrees") return begin(&LexiconReader::read_degrees);
    if (name == "questions") return begin(&LexiconReader::read_question);
    if (name == "compatible questions") return begin(&LexiconReader::read_compatible);
    if (name == "order") return begin(&LexiconReader::read_order);
    const std::vector<std::string_view> parts = split(name, ' ');
    if (parts.size() == 2 && parts[0] == "foreign") {
      begin_list({Role::foreign, false, number_of(lexicon_->languages_, parts[1])}, false);
      return;
    }
    if (parts.size() == 2 && parts[0] == "units") {
      fact_ = {Role::unit, false, number_of(lexicon_->dimensions_, parts[1])};
      if (parts[1] == "clock") lexicon_->clock_ = fact_.set;
      return begin(&LexiconReader::read_unit);
    }
    if (parts.size() >= 3 && parts[0] == "alternatives") {
      const std::optional<GuardKind> kind = kind_of(parts[1]);
      if (!kind) fail(parts[1], "a kind of guard, for example 'category'");
      fact_ = {Role::alternative, false, add_set(*kind, std::string(trimmed(name.substr(name.find(parts[2])))))};
      return begin(&LexiconReader::read_member);
    }
    fail(name, "the name of a section, for example 'negators' or 'alternatives category colour'");
  }

  void begin(void (LexiconReader::*read)(std::string_view)) { read_ = read; }
  void begin_list(const Fact& fact, bool inflected) {
    fact_ = fact;
    inflected_ = inflected;
    read_ = &LexiconReader::read_list;
  }

  std::uint16_t number_of(std::vector<std::string>& names, std::string_view name) {
    const auto place = std::find(names.begin() + 1, names.end(), name);
    const auto number = static_cast<std::size_t>(place - names.begin());
    if (place == names.end()) names.emplace_back(name);
    return counted(number);
  }
  std::uint16_t counted(std::size_t number) const {
    if (number > 0xFFFF) fail(std::to_string(number) + " of them", "at most 65535 sets, units, members or types");
    return static_cast<std::uint16_t>(number);
  }
  std::uint16_t add_set(GuardKind kind, std::string name) {
    lexicon_->sets_.push_back({kind, std::move(name)});
    member_ = 0;
    return counted(lexicon_->sets_.size() - 1);
  }

  void read_list(std::string_view line) {
    for (const std::string_view word : split(line, ',')) add(word, inflected_, fact_);
  }

  void read_value(std::string_view line) {
    const auto [words, value] = halves(line, '=');
    Fact fact = fact_;
    fact.value = number(value);
    for (const std::string_view word : split(words, ',')) add(word, inflected_, fact);
  }

  void read_contraction(std::string_view line) {
    const auto [forms, full] = halves(line, '=');
    Analysis cut = cut_up(full);
    std::vector<ExpandedWord> words;
    for (const Term& term : cut.terms) words.push_back({std::string(cut.text_of(term)), 0});
    lexicon_->expansions_.push_back(std::move(words));
    const std::uint16_t position = counted(lexicon_->expansions_.size() - 1);
    for (const std::string_view form : split(forms, ',')) entries_[spelling(form, false).entry].expansion = position;
  }

  void read_same(std::string_view line) {
    const auto [others, meaning] = halves(line, '=');
    const std::size_t target = spelling(meaning, true).entry;
    const std::uint64_t sense = sense_of(target);
    for (const std::string_view other : split(others, ',')) {
      const std::size_t entry = spelling(other, true).entry;
      if (entry == target) continue;  // an inflected form
      if (entries_[entry].sense == 0) entries_[entry].sense = sense;
      entries_[entry].same_as.push_back(target);
    }
  }

  void read_antonyms(std::string_view line) {
    const auto [one, other] = halves(line, '|');
    fact_ = {Role::alternative, false, add_set(GuardKind::antonym, "antonym")};
    read_member(one);
    read_member(other);
  }

  void read_member(std::string_view line) {
    Fact fact = fact_;
    fact.member = counted(++member_);
    add_synonyms(line, fact);
  }

  void read_degrees(std::string_view line) {
    const std::vector<std::string_view> forms = split(line, ',');
    if (forms.size() != 3) fail(line, "an adjective in three degrees: fast, faster, fastest");
    const std::uint16_t set = add_set(GuardKind::degree, std::string(forms[0]));
    for (std::size_t i = 0; i < 3; ++i) {
      for (const std::string_view form : split(forms[i], '/')) {
        add(form, false, {Role::degree, false, set, static_cast<std::uint16_t>(i)});
      }
    }
  }

  void read_question(std::string_view line) {
    const auto [forms, type] = halves(line, '=');
    const std::uint16_t member = type == "-" ? std::uint16_t{0} : number_of(lexicon_->questions_, type);
    for (const std::string_view form : split(forms, ',')) add(form, false, {Role::question, false, 0, member});
  }

  void read_compatible(std::string_view line) {
    const std::vector<std::string_view> types = split(line, ',');
    if (types.size() != 2) fail(line, "two types of questions");
    std::array<std::uint16_t, 2> members{};
    for (std::size_t i = 0; i < 2; ++i) {
      const auto& known = lexicon_->questions_;
      const auto place = std::find(known.begin() + 1, known.end(), types[i]);
      if (place == known.end()) fail(types[i], "a type of question from the section [questions] above");
      members[i] = static_cast<std::uint16_t>(place - known.begin());
    }
    lexicon_->compatible_.emplace_back(members[0], members[1]);
  }

  void read_order(std::string_view line) {
    const std::uint16_t set = counted(++orders_);
    for (const std::string_view word : split(line, ',')) add(word, false, {Role::order, false, set});
  }

  void read_unit(std::string_view line) {
    const auto [unit, spellings] = halves(line, '=');
    const std::vector<std::string_view> parts = split(unit, ' ');
    if (parts.size() != 2) fail(unit, "a unit and its size: 'kilometre 1000 = km, kilometres'");
    Fact fact = fact_;
    fact.member = counted(lexicon_->units_.size());
    fact.value = parts[1] == "-" ? 0 : number(parts[1]);
    lexicon_->units_.emplace_back(parts[0]);
    add_synonyms(spellings, fact);
  }

  std::pair<std::string_view, std::string_view> halves(std::string_view line, char separator) const {
    const std::size_t place = line.find(separator);
    if (place == std::string_view::npos || line.find(separator, place + 1) != std::string_view::npos) {
      fail(line, std::string("one '") + separator + "' in the line");
    }
    return {trimmed(line.substr(0, place)), trimmed(line.substr(place + 1))};
  }

  double number(std::string_view text) const {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0) || value > 1e300) {
      fail(text, "a number that is not negative");
    }
    return value;
  }

  Analysis cut_up(std::string_view text) const {
    Analysis cut;
    normalize(text, cut.text);
    cut_into_terms(nullptr, cut);
    if (cut.terms.empty()) fail(text, "a word");
    return cut;
  }

  /// The entry of a word or phrase as written in the list: "word", "word!", "turn off", "turn ... off".
  Spelling spelling(std::string_view text, bool inflected) {
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

  std::size_t position(std::uint64_t key, std::uint64_t own) {
    const auto [place, is_new] = keys_.try_emplace(key, entries_.size());
    if (is_new) {
      entries_.emplace_back();
      entries_.back().own = own;
    }
    return place->second;
  }
  Entry& entry(std::uint64_t key, std::uint64_t own) { return entries_[position(key, own)]; }

  std::uint64_t sense_of(std::size_t position) {
    Entry& entry = entries_[position];
    if (entry.sense == 0) entry.sense = entry.own;
    return entry.sense;
  }

  std::size_t add(std::string_view text, bool inflected, Fact fact) {
    const Spelling place = spelling(text, inflected);
    fact.weak = fact.weak || place.weak;
    add_fact(entries_[place.entry].facts, fact);
    return place.entry;
  }

  static void add_fact(std::vector<Fact>& facts, const Fact& fact) {
    if (std::find(facts.begin(), facts.end(), fact) == facts.end()) facts.push_back(fact);
  }

  /// Words with the same fact and, but for those that mean something else already, the same meaning.
  void add_synonyms(std::string_view words, const Fact& fact) {
    std::uint64_t sense = 0;
    for (const std::string_view word : split(words, ',')) {
      const std::size_t place = add(word, true, fact);
      if (sense == 0) sense = sense_of(place);
      if (entries_[place].sense == 0) entries_[place].sense = sense;
    }
  }

  void finish() {
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

  std::string place_;
  std::size_t line_ = 0;
  std::shared_ptr<Lexicon> lexicon_;
  void (LexiconReader::*read_)(std::string_view) = nullptr;
  Fact fact_;
  bool inflected_ = false;
  std::size_t member_ = 0;
  std::size_t orders_ = 0;
  std::vector<Entry> entries_;
  std::unordered_map<std::uint64_t, std::size_t> keys_;
};

std::shared_ptr<const Lexicon> Lexicon::read(std::string_view text, const std::string& place) {
  return LexiconReader(text, place).lexicon();
}

}  // namespace promptcache::guards
