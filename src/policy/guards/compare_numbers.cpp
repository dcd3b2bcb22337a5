#include <algorithm>
#include <cmath>

#include "policy/guards/compare.hpp"

namespace promptcache::guards {
namespace {

bool close(double a, double b) { return a == b || std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)); }

bool same_text_start(std::string_view one, std::string_view other) {
  if (one.size() > other.size()) std::swap(one, other);
  return other.substr(0, one.size()) == one && other.size() > one.size() && other[one.size()] == '.';
}

bool equal(const Number& a, const Number& b) {
  if (!a.exact || !b.exact) return a.text == b.text;
  if (a.dimension != 0 && a.dimension == b.dimension && a.unit != b.unit) {
    return a.factor > 0 && b.factor > 0 && close(a.value * a.factor, b.value * b.factor);
  }
  if (a.dimension != 0 && b.dimension != 0 && a.dimension != b.dimension) return false;
  return close(a.value, b.value);
}

/// The same figure with another unit: 5 km and 5 miles.
bool differs_in_unit(const Number& a, const Number& b) {
  return a.exact && b.exact && a.dimension != 0 && b.dimension != 0 && close(a.value, b.value) && !equal(a, b);
}

/// As they were written, with the words that belong to them.
std::string shown_number(const Analysis& of, const Number& number) {
  std::string words = shown(of, number.term);
  for (std::uint32_t i = number.term + 1; i < of.terms.size() && i < number.term + 4; ++i) {
    if (!of.terms[i].is(Term::used) || of.terms[i].is(Term::starts_clause)) break;
    if (!of.terms[i].is(Term::joined)) words += ' ';
    words += of.text_of(i);
  }
  return words;
}

}  // namespace

void compare_numbers(const Analysis& a, const Analysis& b, const Overlap& overlap, Findings& findings) {
  if (a.numbers.empty() && b.numbers.empty()) return;
  const auto met = [&](const Number& number, bool in_a) {
    if (number.vague || number.dated) return true;
    for (const Number& other : in_a ? b.numbers : a.numbers) {
      if (equal(number, other) || differs_in_unit(number, other)) return true;
    }
    // "gpt4" is "gpt-4" and "g p t 4", and what was read as a number here may be a part of a word there.
    return number.version && !number.exact && has_run(in_a ? b : a, (in_a ? a : b).text_of(number.term));
  };
  const auto same_thing = [](const Number& one, const Number& other) {
    return one.version && other.version && one.name == other.name;
  };
  const auto kind = [&](const Number& one, const Number* other) {
    if (other == nullptr) return one.version ? GuardKind::version : GuardKind::number;
    return one.version && other->version ? GuardKind::version : GuardKind::number;
  };
  // Two passes: a version of the same thing says more than any two numbers.
  const auto report = [&](const Number* one, const Number* other) {
    if (one != nullptr && other != nullptr) {
      const bool narrower = same_text_start(a.text_of(one->term), b.text_of(other->term)) && same_thing(*one, *other);
      findings.add(kind(*one, other), narrower ? GuardStrength::missing : GuardStrength::replaced,
                   [&] { return replaced_words(shown_number(a, *one), shown_number(b, *other)); });
    } else {
      const Number& number = one != nullptr ? *one : *other;
      findings.add(kind(number, nullptr), GuardStrength::missing,
                   [&] { return missing_words(shown_number(one != nullptr ? a : b, number)); });
    }
  };
  compare_items(
      a.numbers, b.numbers, met,
      [&](const Number& one, const Number& other) {
        if (one.version || other.version) return same_thing(one, other);
        if (same_slot(a, one.term, b, other.term) || overlap.differ_by_at_most(1)) return true;
        return overlap.known && one.dimension != 0 && one.dimension == other.dimension;
      },
      report);
}

void compare_units(const Lexicon& lexicon, const Analysis& a, const Analysis& b, const Overlap& overlap,
                   Findings& findings) {
  for (const Number& one : a.numbers) {
    for (const Number& other : b.numbers) {
      if (!differs_in_unit(one, other)) continue;
      const auto equals = [](const Number& number, const std::vector<Number>& numbers) {
        return std::any_of(numbers.begin(), numbers.end(),
                           [&](const Number& candidate) { return equal(number, candidate); });
      };
      if (equals(one, b.numbers) || equals(other, a.numbers)) continue;
      findings.add(GuardKind::unit, overlap.known ? GuardStrength::replaced : GuardStrength::missing,
                   [&] { return replaced_words(shown_number(a, one), shown_number(b, other)); });
      return;
    }
  }
  if (a.units.empty() && b.units.empty()) return;
  const auto met = [&](const Unit& unit, bool in_a) {
    const Analysis& other = in_a ? b : a;
    const auto same = [&](const auto& item) { return item.dimension == unit.dimension && item.unit == unit.unit; };
    return std::any_of(other.units.begin(), other.units.end(), same) ||
           std::any_of(other.numbers.begin(), other.numbers.end(), same);
  };
  const auto report = [&](const Unit* one, const Unit* other) {
    if (one != nullptr && other != nullptr) {
      findings.add(GuardKind::unit, overlap.known ? GuardStrength::replaced : GuardStrength::missing,
                   [&] { return replaced_words(lexicon.unit(one->unit), lexicon.unit(other->unit)); });
    } else {
      findings.add(GuardKind::unit, GuardStrength::missing,
                   [&] { return missing_words(lexicon.unit(one != nullptr ? one->unit : other->unit)); });
    }
  };
  compare_items(
      a.units, b.units, met, [](const Unit& one, const Unit& other) { return one.dimension == other.dimension; },
      report);
}

namespace {

/// How two dates stand to each other.
enum class Relation { unrelated, agreeing, conflicting };

Relation relation_as_written(const Date& a, const Date& b) {
  bool common = false;
  const auto differ = [&](int one, int other) {
    if (one < 0 || other < 0) return false;
    common = true;
    return one != other;
  };
  if (differ(a.year, b.year) || differ(a.month, b.month) || differ(a.day, b.day)) return Relation::conflicting;
  const bool half = a.either_half || b.either_half;
  const auto minute = [&](const Date& date) { return half && date.minute >= 0 ? date.minute % 720 : date.minute; };
  if (differ(minute(a), minute(b))) return Relation::conflicting;
  return common ? Relation::agreeing : Relation::unrelated;
}

Relation relation(const Date& a, const Date& b) {
  const Relation plain = relation_as_written(a, b);
  if (plain != Relation::conflicting || !(a.either_order || b.either_order)) return plain;
  Date exchanged = a.either_order ? a : b;
  std::swap(exchanged.month, exchanged.day);
  return relation_as_written(exchanged, a.either_order ? b : a);
}

std::string shown_date(const Date& date) {
  std::string words;
  const auto append = [&](const char* name, int value) {
    if (value < 0) return;
    if (!words.empty()) words += ' ';
    words += name + std::to_string(value);
  };
  append("", date.year);
  append("month ", date.month);
  append("day ", date.day);
  if (date.minute >= 0) {
    const int minute = date.minute % 60;
    words += std::to_string(date.minute / 60) + (minute < 10 ? ":0" : ":") + std::to_string(minute);
  }
  return words;
}

}  // namespace

void compare_dates(const Analysis& a, const Analysis& b, Findings& findings) {
  if (a.dates.empty() && b.dates.empty()) return;
  const auto met = [&](const Date& date, bool in_a) {
    const Analysis& other = in_a ? b : a;
    for (const Date& candidate : other.dates) {
      if (relation(date, candidate) == Relation::agreeing) return true;
    }
    if (date.month >= 0 || date.minute >= 0) return false;
    return std::any_of(other.numbers.begin(), other.numbers.end(),
                       [&](const Number& number) { return number.exact && number.value == date.year; });
  };
  const auto report = [&](const Date* one, const Date* other) {
    if (one != nullptr && other != nullptr) {
      findings.add(GuardKind::date, GuardStrength::replaced,
                   [&] { return replaced_words(shown_date(*one), shown_date(*other)); });
    } else {
      findings.add(GuardKind::date, GuardStrength::missing,
                   [&] { return missing_words(shown_date(one != nullptr ? *one : *other)); });
    }
  };
  compare_items(
      a.dates, b.dates, met,
      [](const Date& one, const Date& other) { return relation(one, other) == Relation::conflicting; }, report);
}

}  // namespace promptcache::guards
