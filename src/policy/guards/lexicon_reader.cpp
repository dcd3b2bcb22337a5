#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "policy/guards/analysis.hpp"
#include "policy/guards/lexicon_builder.hpp"

namespace promptcache::guards {
namespace {

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

class LexiconReader : private LexiconBuilder {
 public:
  LexiconReader(std::string_view text, const std::string& place) : LexiconBuilder(place) {
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

  void (LexiconReader::*read_)(std::string_view) = nullptr;
  Fact fact_;
  bool inflected_ = false;
  std::size_t member_ = 0;
  std::size_t orders_ = 0;
};

std::shared_ptr<const Lexicon> Lexicon::read(std::string_view text, const std::string& place) {
  return LexiconReader(text, place).lexicon();
}

}  // namespace promptcache::guards
