// Cuts a normalised text into words, numbers and pieces of code.

#include <algorithm>
#include <array>

#include "policy/guards/analysis.hpp"
#include "policy/guards/characters.hpp"
#include "policy/guards/words.hpp"

namespace promptcache::guards {
namespace {

constexpr std::size_t longest_quotation = 400;
constexpr std::size_t longest_code = 400;

class Cutter {
 public:
  Cutter(const Lexicon* lexicon, Analysis& out) : lexicon_(lexicon), out_(out), text_(out.text) {}

  void cut() {
    while (at_ < text_.size()) {
      if (quote_end_ != 0 && at_ >= quote_end_) {
        const bool mark = at_ == quote_end_ && text_[at_] == '"';
        close_quote();
        if (mark) {
          ++at_;
          continue;
        }
      }
      const char c = text_[at_];
      const std::uint16_t kind = class_of(c);
      if ((kind & space) != 0) {
        if (c == '\n') next_sentence_ = true;
        ++at_;
        chunk_end_ = 0;
        continue;
      }
      if (at_ >= chunk_end_ && begin_chunk()) continue;
      if ((kind & letter) != 0 || c == '$') {
        read_word();
      } else if ((kind & digit) != 0) {
        read_number();
      } else {
        read_punctuation(c);
      }
    }
    close_quote();
  }

 private:
  char at(std::size_t i) const { return i < text_.size() ? text_[i] : ' '; }
  bool is(std::size_t i, std::uint16_t kinds) const { return (class_of(at(i)) & kinds) != 0; }
  std::size_t skip(std::size_t i, std::uint16_t kinds) const {
    while (i < text_.size() && (class_of(text_[i]) & kinds) != 0) ++i;
    return i;
  }

  // --- terms

  Term& push(std::size_t begin, std::size_t end, std::uint16_t flags) {
    if (next_sentence_) {
      flags |= Term::starts_sentence | Term::starts_clause;
    } else if (next_clause_) {
      flags |= Term::starts_clause;
    }
    next_sentence_ = next_clause_ = false;
    if (!out_.terms.empty()) {
      if (last_end_ == begin) flags |= Term::joined;
      if (last_end_ + 1 == begin && text_[last_end_] == '-') flags |= Term::hyphened;
    }
    last_end_ = end;
    if (quote_end_ > begin) flags |= Term::quoted;
    Term& term = out_.terms.emplace_back();
    term.begin = static_cast<std::uint32_t>(out_.folded.size());
    term.flags = flags;
    return term;
  }

  void close(Term& term) {
    term.size = static_cast<std::uint32_t>(out_.folded.size()) - term.begin;
    const std::string_view form = out_.text_of(term);
    const std::uint64_t hash = hash_of(form);
    Stem stem;
    term.stem = stem_of(form, stem) ? hash_of(stem.view()) : hash;
    term.sense = term.stem;
    if (lexicon_ == nullptr) return;
    term.word = lexicon_->find(hash, term.stem);
    if (term.word != 0 && lexicon_->word(term.word).sense != 0) term.sense = lexicon_->word(term.word).sense;
  }

  void push_word(std::size_t begin, std::size_t end, std::uint16_t flags, bool has_high) {
    std::size_t letters = 0;
    std::size_t capitals = 0;
    for (std::size_t i = begin; i < end; ++i) {
      letters += (class_of(text_[i]) & (lower | upper)) != 0 ? 1U : 0U;
      capitals += (class_of(text_[i]) & upper) != 0 ? 1U : 0U;
    }
    flags |= Term::letters;
    if (capitals > 0) {
      const bool first = (class_of(text_[begin]) & upper) != 0;
      if (first) flags |= Term::capital;
      if (letters >= 2 && capitals == letters) {
        flags |= Term::all_capitals;
      } else if (capitals > (first ? 1U : 0U)) {
        flags |= Term::inner_capital;
      }
    }
    if (has_high && capitals == 0 && begins_with_capital(begin, end)) flags |= Term::capital;
    Term& term = push(begin, end, flags);
    for (std::size_t i = begin; i < end;) {  // without the points of "U.S."
      std::size_t stop = i;
      while (stop < end && text_[stop] != '.') ++stop;
      append_folded(out_.folded, text_.substr(i, stop - i), !has_high);
      i = stop + 1;
    }
    close(term);
    expand(out_.terms.size() - 1);
  }

  static bool begins_with_capital(std::string_view text) {
    std::string folded;
    append_folded(folded, text, false);
    return folded != text;
  }
  bool begins_with_capital(std::size_t begin, std::size_t end) const {
    std::size_t first = begin + 1;
    while (first < end && (static_cast<unsigned char>(text_[first]) & 0xC0U) == 0x80U) ++first;
    return begins_with_capital(text_.substr(begin, first - begin));
  }

  /// A contraction becomes the words it stands for.
  void expand(std::size_t position) {
    if (lexicon_ == nullptr || out_.terms[position].word == 0) return;
    const Word& entry = lexicon_->word(out_.terms[position].word);
    if (entry.expansion == 0) return;
    const std::uint16_t flags = out_.terms[position].flags;
    out_.folded.resize(out_.terms[position].begin);
    out_.terms.pop_back();
    bool first = true;
    for (const ExpandedWord& part : lexicon_->expansion(entry)) {
      Term& term = out_.terms.emplace_back();
      term.begin = static_cast<std::uint32_t>(out_.folded.size());
      term.flags = static_cast<std::uint16_t>(Term::contracted | Term::letters | (flags & Term::quoted));
      if (first) term.flags |= flags & (Term::starts_sentence | Term::starts_clause | Term::joined | Term::capital);
      first = false;
      out_.folded += part.text;
      close(term);
    }
  }

  // --- words

  void read_word() {
    const std::size_t begin = at_;
    if (text_[at_] == '$') {
      push_word(at_, at_ + 1, 0, false);
      ++at_;
      return;
    }
    // U.S., e.g.
    if (is(at_, lower | upper) && at(at_ + 1) == '.' && is(at_ + 2, lower | upper) && !is(at_ + 3, word)) {
      std::size_t end = at_ + 3;
      while (at(end) == '.' && is(end + 1, lower | upper) && !is(end + 2, word)) end += 2;
      push_word(begin, end, 0, false);
      at_ = at(end) == '.' ? end + 1 : end;
      last_end_ = at_;
      return;
    }
    std::size_t end = at_;
    bool has_high = false;
    while (end < text_.size()) {
      const std::uint16_t kind = class_of(text_[end]);
      if ((kind & letter) != 0) {
        has_high = has_high || (kind & high) != 0;
        ++end;
      } else if (text_[end] == '\'' && is(end + 1, letter)) {
        ++end;
      } else {
        break;
      }
    }
    if (at(end) == '+' && at(end + 1) == '+')
      end += 2;  // C++
    else if (at(end) == '#' && end - begin <= 2 && !is(end + 1, word))
      ++end;  // C#
    else if (end - begin > 2 && at(end - 2) == '\'' && (at(end - 1) == 's' || at(end - 1) == 'S')) {
      // "what's" stands in the list of contractions; otherwise it is a possessive
      if (!is_contraction(begin, end, has_high)) {
        push_word(begin, end - 2, 0, has_high);
        last_end_ = at_ = end;
        return;
      }
    }
    push_word(begin, end, 0, has_high);
    at_ = end;
    if (at(at_) == '\'') ++at_;
  }

  bool is_contraction(std::size_t begin, std::size_t end, bool has_high) {
    if (lexicon_ == nullptr) return true;
    if (has_high || end - begin > 24) return false;
    std::string form;
    append_folded(form, text_.substr(begin, end - begin), true);
    const std::uint64_t hash = hash_of(form);
    const std::uint32_t entry = lexicon_->find(hash, hash);
    return entry != 0 && lexicon_->word(entry).expansion != 0;
  }

  // --- numbers

  void read_number() {
    const DigitRun run = read_digits(text_, at_);
    Term& term = push(at_, run.end, static_cast<std::uint16_t>(Term::number | (run.is_date ? Term::used : 0)));
    for (std::size_t i = at_; i < run.end; ++i) {
      if (text_[i] != ',') out_.folded += text_[i];
    }
    close(term);
    const auto position = static_cast<std::uint32_t>(out_.terms.size() - 1);
    if (out_.numbers.size() < most_items) {
      out_.numbers.push_back(run.number);
      out_.numbers.back().term = position;
      out_.numbers.back().text = hash_of(out_.text_of(position));
    }
    if (run.is_date && out_.dates.size() < most_items) {
      out_.dates.push_back(run.date);
      out_.dates.back().term = position;
    }
    at_ = last_end_ = run.after;
  }

  // --- punctuation and quotations

  void read_punctuation(char c) {
    switch (c) {
      case '.':
      case '!':
      case '?': next_sentence_ = next_sentence_ || is(at_ + 1, space | other); break;
      case ',':
      case ';':
      case ':':
      case '(':
      case ')': next_clause_ = true; break;
      case '"':
        open_quote(at_ + 1, text_.substr(0, std::min(text_.size(), at_ + longest_quotation)).find('"', at_ + 1));
        break;
      case '\'':
        if (at_ >= quote_end_ && (at_ == 0 || is(at_ - 1, space)) && is(at_ + 1, word)) open_single_quote();
        break;
      case '`': read_backticks(); return;
      case '%': push_word(at_, at_ + 1, 0, false); break;
      case '&':
        if (is(at_ + 1, space)) push_word(at_, at_ + 1, 0, false);
        break;
      default: break;
    }
    ++at_;
    if (c == '(' || c == '[' || c == '"' || c == '\'') chunk_end_ = 0;  // code may begin after it
  }

  void open_quote(std::size_t begin, std::size_t end) {
    if (end == std::string_view::npos || end <= begin) return;
    quote_end_ = end;
    quote_term_ = out_.terms.size();
  }

  void open_single_quote() {
    const std::size_t limit = std::min(text_.size(), at_ + longest_quotation);
    for (std::size_t i = at_ + 2; i < limit; ++i) {
      if (text_[i] == '\n') return;
      if (text_[i] == '\'' && !is(i + 1, word) && !is(i - 1, space)) return open_quote(at_ + 1, i);
    }
  }

  void close_quote() {
    if (quote_end_ == 0) return;
    if (out_.terms.size() > quote_term_ && out_.quotes.size() < most_items) {
      out_.quotes.push_back({static_cast<std::uint32_t>(quote_term_), static_cast<std::uint32_t>(out_.terms.size())});
    }
    quote_end_ = 0;
  }

  /// Code between backticks, or a quotation in the manner of ``TeX''.
  void read_backticks() {
    std::size_t begin = at_;
    while (at(begin) == '`') ++begin;
    const std::size_t ticks = begin - at_;
    const std::string_view window = text_.substr(0, std::min(text_.size(), begin + longest_code));
    if (ticks == 2) {
      const std::size_t end = window.find("''", begin);
      at_ = begin;
      if (end != std::string_view::npos && at_ >= quote_end_) open_quote(begin, end);
      return;
    }
    const std::size_t end = window.find('`', begin);
    if (end == std::string_view::npos) {
      at_ = begin;
      return;
    }
    read_code(begin, end);
    at_ = end;
    while (at(at_) == '`') ++at_;
  }

  // --- code

  /// Looks at the text up to the next blank; true when it was code and has been read.
  bool begin_chunk() {
    std::size_t end = at_;
    std::uint16_t kinds = 0;
    bool capital_after_lower = false;
    std::uint16_t before = 0;
    for (; end < text_.size() && end < at_ + longest_code; ++end) {
      const std::uint16_t kind = class_of(text_[end]);
      if ((kind & space) != 0) break;
      capital_after_lower = capital_after_lower || ((kind & upper) != 0 && (before & lower) != 0);
      kinds |= kind;
      before = kind;
    }
    chunk_end_ = end;
    if ((kinds & (joiner | period | arithmetic | hyphen | bracket)) == 0 && !capital_after_lower) return false;
    std::size_t begin = at_;
    while (begin < end && (text_[begin] == '(' || text_[begin] == '"' || text_[begin] == '\'' || text_[begin] == '[')) {
      ++begin;
    }
    std::size_t stop = end;
    while (stop > begin && std::string_view(".,;:!?\"'])").find(text_[stop - 1]) != std::string_view::npos &&
           !(text_[stop - 1] == ')' && stop >= begin + 2 && text_[stop - 2] == '(')) {
      --stop;
    }
    if (stop - begin < 2 || begin != at_) return false;  // what is inside is looked at when it begins
    if (!looks_like_code(text_.substr(begin, stop - begin))) return false;
    read_code(begin, stop);
    at_ = stop;
    last_end_ = stop;
    return true;
  }

  /// Cuts code at everything but letters and digits, and before capitals.
  void read_code(std::size_t begin, std::size_t end) {
    const auto first = static_cast<std::uint32_t>(out_.terms.size());
    for (std::size_t i = begin; i < end;) {
      std::size_t stop = i;
      if (is(i, digit)) {
        stop = std::min(skip(i, digit), end);
        Term& term = push(i, stop, Term::code | Term::number | Term::used);
        out_.folded.append(text_.substr(i, stop - i));
        close(term);
      } else if (is(i, letter)) {
        bool has_high = false;
        do {
          has_high = has_high || is(stop, high);
          ++stop;
        } while (stop < end && is(stop, letter) && !(is(stop, upper) && is(stop - 1, lower)));
        Term& term = push(i, stop, Term::code | Term::letters);
        append_folded(out_.folded, text_.substr(i, stop - i), !has_high);
        close(term);
      } else {
        ++stop;
      }
      i = stop;
    }
    if (out_.codes.size() < most_items) {
      out_.codes.push_back(
          {hash_of(text_.substr(begin, end - begin)), {first, static_cast<std::uint32_t>(out_.terms.size())}});
    }
    last_end_ = end;
  }

  const Lexicon* lexicon_;
  Analysis& out_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t chunk_end_ = 0;
  std::size_t last_end_ = 0;
  std::size_t quote_end_ = 0;
  std::size_t quote_term_ = 0;
  bool next_sentence_ = true;
  bool next_clause_ = true;
};

}  // namespace

void cut_into_terms(const Lexicon* lexicon, Analysis& out) { Cutter(lexicon, out).cut(); }

}  // namespace promptcache::guards
