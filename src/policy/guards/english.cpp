// What only grammar tells: negations, types of questions, and which side of a word something stands on. English only.

#include <algorithm>
#include <optional>

#include "policy/guards/analysis.hpp"
#include "policy/guards/words.hpp"

namespace promptcache::guards {
namespace {

bool has(const Lexicon& lexicon, const Term& term, Role role) {
  return !term.is(Term::swallowed) && lexicon.word(term.word).is(role);
}

/// "Isn't it possible", "don't you think", "..., isn't it?" ask and deny nothing.
bool is_rhetorical(const Lexicon& lexicon, const Analysis& out, std::size_t negator) {
  const auto& terms = out.terms;
  if (!terms[negator].is(Term::contracted) || negator == 0) return false;
  const std::size_t next = negator + 1;
  const bool subject = next < terms.size() && has(lexicon, terms[next], Role::subject);
  const bool ends = next + 1 >= terms.size() || terms[next + 1].is(Term::starts_sentence);
  if (subject && ends) return true;
  if (!terms[negator - 1].is(Term::starts_clause)) return false;
  return subject || (out.text_of(negator - 1) != "do" && next < terms.size());
}

}  // namespace

void find_negations(const Lexicon& lexicon, Analysis& out) {
  if (!out.english) return;
  const auto& terms = out.terms;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].word == 0) continue;
    if (has(lexicon, terms[i], Role::soft_negator)) out.soft_negation = true;
    if (!has(lexicon, terms[i], Role::negator) || has(lexicon, terms[i], Role::harmless_negator)) continue;
    if (terms[i].is(Term::quoted) || is_rhetorical(lexicon, out, i)) continue;
    Negation negation;
    negation.term = static_cast<std::uint32_t>(i);
    for (std::size_t k = i + 1; k < std::min(terms.size(), i + 5) && !terms[k].is(Term::starts_clause); ++k) {
      if (!is_content(terms[k])) continue;
      negation.denied = terms[k].sense;
      break;
    }
    if (out.negations.size() < most_items) out.negations.push_back(negation);
  }
}

void find_questions(const Lexicon& lexicon, Analysis& out) {
  constexpr std::size_t most_before = 3;  // content words before a question word that still asks
  if (!out.english) return;
  bool open = true;
  std::size_t content = 0;
  for (const Term& term : out.terms) {
    if (term.is(Term::starts_clause)) {
      open = true;
      content = 0;
    }
    if (!open || term.is(Term::swallowed)) continue;
    if (const Fact* question = lexicon.fact(term.word, Role::question)) {
      const bool known = std::find(out.questions.begin(), out.questions.end(), question->member) != out.questions.end();
      if (question->member != 0 && !known && out.questions.size() < most_items)
        out.questions.push_back(question->member);
      open = false;
    } else if (lexicon.word(term.word).is(Role::auxiliary)) {
      open = content > 0;  // a question for yes or no
    } else if (is_content(term)) {
      open = ++content <= most_before;
    }
  }
}

namespace {

class DirectionFinder {
 public:
  DirectionFinder(const Lexicon& lexicon, Analysis& out) : lexicon_(lexicon), out_(out), terms_(out.terms) {}

  void find() {
    std::optional<std::size_t> conversion;
    for (std::size_t i = 0; i < terms_.size(); ++i) {
      if (terms_[i].is(Term::starts_sentence)) conversion.reset();
      if (terms_[i].word == 0 || terms_[i].is(Term::swallowed)) continue;
      const Word& word = lexicon_.word(terms_[i].word);
      if (word.is(Role::conversion_verb)) conversion = i;
      if (word.is(Role::source)) add_source(i);
      if (word.is(Role::target)) add_target(i, conversion.has_value());
      if (word.is(Role::order)) add_order(i, lexicon_.fact(terms_[i].word, Role::order)->set);
      if (word.is(Role::directed_verb)) add_verb(i);
      if (word.is(Role::time_preposition) && i > 0 && i + 1 < terms_.size()) add_units(i);
    }
  }

 private:
  static constexpr std::size_t reach = 8;
  bool is(std::size_t term, Role role) const { return has(lexicon_, terms_[term], role); }
  bool is_mark(std::size_t term) const {
    return is(term, Role::source) || is(term, Role::target) || is(term, Role::order) || is(term, Role::directed_verb) ||
           is(term, Role::conversion_verb) || is(term, Role::time_preposition);
  }
  bool counts(std::size_t term) const {
    const Term& t = terms_[term];
    return t.is(Term::letters) && !t.is(Term::ignored) && !t.is(Term::swallowed) && !is(term, Role::degree) &&
           !is(term, Role::question) && !is(term, Role::auxiliary) && !is(term, Role::negator);
  }

  using Side = Direction::Side;

  /// The words that count before `term`, the nearest first.
  Side before(std::size_t term, std::uint32_t& shown) const {
    Side side{};
    std::size_t taken = 0;
    for (std::size_t i = term; i > 0 && taken < side.size() && term - i < reach; --i) {
      if (terms_[i].is(Term::starts_clause)) break;
      const std::size_t k = i - 1;
      if (is_mark(k) || (is(k, Role::auxiliary) && taken > 0)) break;
      if (counts(k)) {
        shown = taken == 0 ? static_cast<std::uint32_t>(k) : shown;
        side[taken++] = terms_[k].sense;
      }
    }
    return side;
  }
  /// The words that count from `term` on.
  Side after(std::size_t term, std::uint32_t& shown) const {
    Side side{};
    std::size_t taken = 0;
    for (std::size_t i = term; i < terms_.size() && taken < side.size() && i - term < reach; ++i) {
      if (terms_[i].is(Term::starts_clause) || is_mark(i) || (is(i, Role::auxiliary) && taken > 0)) break;
      if (counts(i)) {
        shown = taken == 0 ? static_cast<std::uint32_t>(i) : shown;
        side[taken++] = terms_[i].sense;
      }
    }
    return side;
  }

  void add(Direction direction, std::size_t term) {
    if (direction.left[0] == 0 && direction.right[0] == 0) return;
    direction.term = static_cast<std::uint32_t>(term);
    if (out_.directions.size() < most_items) out_.directions.push_back(direction);
  }

  void add_source(std::size_t term) {
    Direction direction;
    direction.kind = Direction::path;
    direction.left = after(term + 1, direction.shown[0]);
    for (std::size_t i = term + 1; i < std::min(terms_.size(), term + reach) && !terms_[i].is(Term::starts_clause);
         ++i) {
      if (!is(i, Role::target)) continue;
      direction.right = after(i + 1, direction.shown[1]);
      return add(direction, term);
    }
    for (std::size_t i = term; i > 0 && term - i < reach && !terms_[i].is(Term::starts_clause); --i) {
      if (!is(i - 1, Role::target)) continue;
      direction.right = after(i, direction.shown[1]);
      break;
    }
    add(direction, term);
  }

  void add_target(std::size_t term, bool conversion) {
    Direction direction;
    direction.kind = Direction::path;
    direction.right = after(term + 1, direction.shown[1]);
    if (direction.right[0] == 0) return;
    if (conversion) direction.left = before(term, direction.shown[0]);
    direction.target_only = direction.left[0] == 0;
    add(direction, term);
  }

  void add_order(std::size_t term, std::uint16_t set) {
    Direction direction;
    direction.kind = 3 + std::uint64_t{set};
    direction.left = before(term, direction.shown[0]);
    direction.right = after(term + 1, direction.shown[1]);
    if (direction.left[0] != 0 && direction.right[0] != 0) add(direction, term);
  }

  /// "How many feet in a mile".
  void add_units(std::size_t term) {
    Direction direction;
    direction.kind = 2;
    direction.left = before(term, direction.shown[0]);
    direction.right = after(term + 1, direction.shown[1]);
    if (direction.left[0] == 0 || direction.right[0] == 0) return;
    if (is(direction.shown[0], Role::unit) && is(direction.shown[1], Role::unit)) add(direction, term);
  }

  void add_verb(std::size_t term) {
    Direction direction;
    direction.kind = terms_[term].sense | (std::uint64_t{1} << 63);
    direction.left = before(term, direction.shown[0]);
    std::size_t begin = term + 1;
    const bool passive = begin < terms_.size() && is(begin, Role::agent);
    direction.right = after(passive ? begin + 1 : begin, direction.shown[1]);
    if (direction.left[0] == 0 || direction.right[0] == 0) return;
    if (passive) {
      std::swap(direction.left, direction.right);
      std::swap(direction.shown[0], direction.shown[1]);
    }
    add(direction, term);
  }

  const Lexicon& lexicon_;
  Analysis& out_;
  const std::vector<Term>& terms_;
};

}  // namespace

void find_directions(const Lexicon& lexicon, Analysis& out) {
  if (out.english) DirectionFinder(lexicon, out).find();
}

}  // namespace promptcache::guards
