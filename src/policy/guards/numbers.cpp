#include <cmath>
#include <optional>

#include "policy/guards/analysis.hpp"
#include "policy/guards/words.hpp"

namespace promptcache::guards {
namespace {

class NumberFinder {
 public:
  NumberFinder(const Lexicon& lexicon, Analysis& out) : lexicon_(lexicon), out_(out), terms_(out.terms) {}

  void find() {
    const std::size_t digits = out_.numbers.size();
    for (std::size_t i = 0; i < digits; ++i) {
      if (!out_.numbers[i].dated) finish_digits(out_.numbers[i]);
    }
    if (out_.english) {
      for (std::size_t i = 0; i < terms_.size();) i = read_words(i);
    }
    for (std::size_t i = 0; i < terms_.size(); ++i) add_unit(i);
  }

 private:
  const Fact* fact(std::size_t term, Role role) const {
    if (term >= terms_.size() || terms_[term].is(Term::swallowed)) return nullptr;
    return lexicon_.fact(terms_[term].word, role);
  }
  /// The next term that belongs with this one: in the same clause, and not the rest of a phrase.
  std::size_t next(std::size_t term) const {
    do {
      ++term;
    } while (term < terms_.size() && terms_[term].is(Term::swallowed));
    return term < terms_.size() && !terms_[term].is(Term::starts_clause) ? term : terms_.size();
  }
  std::optional<std::size_t> previous(std::size_t term) const {
    if (term == 0 || terms_[term].is(Term::starts_clause)) return std::nullopt;
    do {
      --term;
    } while (term > 0 && terms_[term].is(Term::swallowed));
    return term;
  }

  void finish_digits(Number& number) {
    std::size_t last = number.term;
    std::size_t following = next(last);
    for (const Fact* many = fact(following, Role::multiplier); many != nullptr && number.exact;
         many = fact(following, Role::multiplier)) {
      number.value *= many->value;
      number.grouped = true;
      last = use(following);
      following = next(last);
    }
    number.vague = terms_[number.term].is(Term::swallowed);  // "World War 2" is a word
    if (!attach_unit(number, following) && following < terms_.size() && terms_[following].is(Term::joined) &&
        is_ascii_word(following)) {
      number.exact = false;  // "6s"
      number.text = hash_with_next(number.text, terms_[following].stem);
      use(following);
    }
    attach_currency(number);
    if (number.dimension == 0 && !number.ordinal) find_version(number);
    terms_[number.term].flags |= Term::used;
  }

  /// In scripts without blanks a number touches words it has nothing to do with.
  bool is_ascii_word(std::size_t term) const {
    return terms_[term].is(Term::letters) && static_cast<unsigned char>(out_.folded[terms_[term].begin]) < 0x80;
  }

  std::size_t use(std::size_t term) {
    terms_[term].flags |= Term::used;
    return term;
  }

  bool attach_unit(Number& number, std::size_t term) {
    const Fact* unit = fact(term, Role::unit);
    if (unit == nullptr) return false;
    use(term);
    if (unit->set == lexicon_.clock()) return attach_clock(number, static_cast<int>(unit->value));
    number.dimension = unit->set;
    number.unit = unit->member;
    number.factor = unit->value;
    return true;
  }

  /// 5 pm; `half` is 0 for a time of either half of the day, 1 for am, 2 for pm.
  bool attach_clock(Number& number, int half) {
    if (!number.exact || number.value < 0 || number.value > 12 || number.value != std::floor(number.value)) return true;
    Date date;
    date.term = number.term;
    const int hour = static_cast<int>(number.value) % 12 + (half == 2 ? 12 : 0);
    date.minute = static_cast<std::int16_t>(hour * 60);
    date.either_half = half == 0;
    number.dated = true;
    if (out_.dates.size() < most_items) out_.dates.push_back(date);
    return true;
  }

  /// $5, Rs 500
  void attach_currency(Number& number) {
    const std::optional<std::size_t> before = previous(number.term);
    const Fact* unit = before ? fact(*before, Role::unit) : nullptr;
    if (unit == nullptr || lexicon_.dimension(unit->set) != "currency" || terms_[*before].is(Term::used)) return;
    use(*before);
    if (number.dimension != 0 && lexicon_.dimension(number.dimension) != "currency" && number.factor == 1 &&
        number.exact) {
      number.value *= 1e6;  // "$5m" are no metres
    }
    number.dimension = unit->set;
    number.unit = unit->member;
    number.factor = unit->value;
  }

  void find_version(Number& number) {
    const Term& term = terms_[number.term];
    std::optional<std::size_t> before = previous(number.term);
    if (!before || !terms_[*before].is(Term::letters)) return;
    if (fact(*before, Role::introducer) != nullptr) {
      number.version = true;
      terms_[*before].flags |= Term::used;
      before = previous(*before);
      if (before && terms_[*before].is(Term::letters)) number.name = terms_[*before].sense;
      return;
    }
    const bool joined = (term.is(Term::joined) || term.is(Term::hyphened)) && is_ascii_word(*before);
    const bool name = !terms_[*before].is(Term::ignored) &&
                      (is_known_name(*before) || (out_.capitals_speak && terms_[*before].is(Term::capital) &&
                                                  !terms_[*before].is(Term::starts_sentence)));
    if (!number.version && !joined && (!name || is_year(number))) return;
    number.version = true;
    number.name = terms_[*before].sense;
  }

  bool is_known_name(std::size_t term) const {
    for (const Fact& known : lexicon_.facts(terms_[term].word)) {
      if (known.role == Role::alternative && lexicon_.set(known.set).kind == GuardKind::name) return true;
    }
    return false;
  }

  bool is_year(const Number& number) const {
    return number.exact && !number.grouped && terms_[number.term].size == 4 && number.value >= 1000 &&
           number.value < 2200;
  }

  /// Number words from this term on; returns the term after them.
  std::size_t read_words(std::size_t begin) {
    double total = 0;
    double current = -1;
    bool vague = false;
    bool ordinal = false;
    bool many = false;
    std::size_t at = begin;
    std::size_t last = begin;
    while (at < terms_.size() && !terms_[at].is(Term::used) && !ordinal) {
      if (const Fact* one = fact(at, Role::number); one != nullptr && joins(current, one->value)) {
        current = current < 0 ? one->value : current + one->value;
        vague = vague || (one->weak && at == begin);
      } else if (const Fact* factor = fact(at, Role::multiplier); factor != nullptr && !factor->weak) {
        const double base = current < 0 ? 1 : current;
        if (current < 0 && out_.text_of(at).back() == 's') vague = true;  // "thousands of"
        if (factor->value == 100) {
          current = base * 100;
        } else {
          total += base * factor->value;
          current = 0;
        }
        many = true;
      } else if (const Fact* nth = fact(at, Role::ordinal); nth != nullptr && joins(current, nth->value)) {
        vague = vague || (nth->weak && at == begin);
        current = current < 0 ? nth->value : current + nth->value;
        ordinal = true;
      } else if (many && at > begin && out_.text_of(at) == "and" && next(at) < terms_.size() &&
                 fact(next(at), Role::number) != nullptr) {
        at = next(at);
        continue;
      } else {
        break;
      }
      last = at;
      at = next(at);
    }
    if (at == begin) return begin + 1;
    if (current < 0) return begin + 1;
    Number number;
    number.term = static_cast<std::uint32_t>(begin);
    number.exact = true;
    number.ordinal = ordinal;
    number.grouped = true;
    number.value = total + current;
    number.vague = vague && last == begin;
    number.text = terms_[begin].stem;
    const std::size_t following = next(last);
    if (vague && ordinal && following < terms_.size() && fact(begin, Role::unit) != nullptr && begin > 0 &&
        terms_[begin - 1].is(Term::ignored) && out_.text_of(begin).back() == 's') {
      return begin + 1;  // "seconds"
    }
    for (std::size_t i = begin; i <= last; ++i) terms_[i].flags |= Term::used | Term::number;
    if (attach_unit(number, following)) number.vague = false;
    if (number.dimension == 0 && !ordinal && !vague) find_version(number);
    if (out_.numbers.size() < most_items) out_.numbers.push_back(number);
    return last + 1;
  }

  static bool joins(double current, double next) {
    if (current < 0) return true;
    if (next >= 1 && next < 10 && current >= 20 && current < 100) return std::fmod(current, 10) == 0;
    return current == 0 || (next < 100 && current >= 100 && std::fmod(current, 100) == 0);
  }

  void add_unit(std::size_t term) {
    if (terms_[term].is(Term::used) || !out_.english) return;
    const Fact* unit = fact(term, Role::unit);
    if (unit == nullptr || unit->weak || out_.units.size() >= most_items) return;
    out_.units.push_back({static_cast<std::uint32_t>(term), unit->set, unit->member});
  }

  const Lexicon& lexicon_;
  Analysis& out_;
  std::vector<Term>& terms_;
};

}  // namespace

void find_numbers(const Lexicon& lexicon, Analysis& out) { NumberFinder(lexicon, out).find(); }

namespace {

Number* number_at(Analysis& out, std::size_t term) {
  for (Number& number : out.numbers) {
    if (number.term == term) return &number;
  }
  return nullptr;
}

bool is_plain(const Number& number) { return number.exact && number.dimension == 0 && !number.dated; }

bool is_day(const Number* number) {
  return number != nullptr && is_plain(*number) && number->value >= 1 && number->value <= 31 &&
         number->value == std::floor(number->value);
}

bool is_year(const Analysis& out, const Number* number) {
  return number != nullptr && is_plain(*number) && !number->grouped && !number->ordinal && !number->version &&
         out.terms[number->term].size == 4 && number->value >= 1000 && number->value < 2200;
}

void find_month(const Lexicon& lexicon, Analysis& out, std::size_t i) {
  const Fact* month = lexicon.fact(out.terms[i].word, Role::month);
  if (month == nullptr || out.terms[i].is(Term::swallowed)) return;
  const auto numbered = [&](std::size_t term) { return term < out.terms.size() ? number_at(out, term) : nullptr; };
  Number* day = i > 0 ? numbered(i - 1) : nullptr;
  if (day == nullptr && i > 1 && out.terms[i - 1].is(Term::ignored)) day = numbered(i - 2);  // 1st of May
  std::size_t after = i + 1;
  Number* year = numbered(after);
  if (!is_day(day)) {
    day = nullptr;
    if (is_day(year)) {
      day = year;
      year = numbered(++after);
    }
  }
  if (!is_year(out, year)) year = nullptr;
  const bool capital = out.capitals_speak && out.terms[i].is(Term::capital) && !out.terms[i].is(Term::starts_sentence);
  const bool placed = i > 0 && lexicon.word(out.terms[i - 1].word).is(Role::time_preposition);
  if (month->weak && day == nullptr && year == nullptr && !capital && !placed) return;
  Date date;
  date.term = static_cast<std::uint32_t>(i);
  date.month = static_cast<std::int8_t>(month->value);
  if (day != nullptr) {
    date.day = static_cast<std::int8_t>(day->value);
    day->dated = true;
  }
  if (year != nullptr) {
    date.year = static_cast<std::int16_t>(year->value);
    year->dated = true;
  }
  out.terms[i].flags |= Term::used;
  if (out.dates.size() < most_items) out.dates.push_back(date);
}

}  // namespace

void find_dates(const Lexicon& lexicon, Analysis& out) {
  // A time written with digits, and the half of the day after it: 5:30 pm.
  for (Date& date : out.dates) {
    if (!date.either_half || date.term + 1 >= out.terms.size()) continue;
    Term& after = out.terms[date.term + 1];
    const Fact* half = lexicon.fact(after.word, Role::unit);
    if (half == nullptr || half->set != lexicon.clock() || half->value == 0) continue;
    date.minute = static_cast<std::int16_t>(date.minute % 720 + (half->value == 2 ? 720 : 0));
    date.either_half = false;
    after.flags |= Term::used;
  }
  if (out.english) {
    for (std::size_t i = 0; i < out.terms.size(); ++i) find_month(lexicon, out, i);
  }
  for (Number& number : out.numbers) {
    if (!is_year(out, &number) || out.dates.size() >= most_items) continue;
    if (out.terms[number.term].is(Term::joined)) continue;
    Date date;
    date.term = number.term;
    date.year = static_cast<std::int16_t>(number.value);
    number.dated = true;
    out.dates.push_back(date);
  }
}

}  // namespace promptcache::guards
