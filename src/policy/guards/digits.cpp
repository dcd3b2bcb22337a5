#include <array>
#include <cstddef>
#include <optional>

#include "policy/guards/analysis.hpp"
#include "policy/guards/characters.hpp"

namespace promptcache::guards {
namespace {

class DigitReader {
 public:
  DigitReader(std::string_view text, std::size_t begin) : text_(text), begin_(begin) {}

  DigitRun read() const {
    if (const std::optional<DigitRun> date = read_date()) return *date;
    if (const std::optional<DigitRun> time = read_time()) return *time;
    return read_number();
  }

 private:
  char at(std::size_t i) const { return i < text_.size() ? text_[i] : ' '; }
  bool is(std::size_t i, std::uint16_t kinds) const { return (class_of(at(i)) & kinds) != 0; }
  std::size_t skip_digits(std::size_t i) const {
    while (is(i, digit)) ++i;
    return i;
  }
  int value_of(std::size_t begin, std::size_t end) const {
    int value = 0;
    for (std::size_t i = begin; i < end && value < 100000; ++i) value = value * 10 + (text_[i] - '0');
    return value;
  }

  static DigitRun date_run(const Date& date, std::size_t end) {
    DigitRun run;
    run.number.dated = true;
    run.date = date;
    run.is_date = true;
    run.end = run.after = end;
    return run;
  }

  /// 2024-05-01, 5/1/2024, 1.5.2024
  std::optional<DigitRun> read_date() const {
    const std::size_t one = skip_digits(begin_);
    const char separator = at(one);
    if (separator != '-' && separator != '/' && separator != '.') return std::nullopt;
    const std::size_t two = skip_digits(one + 1);
    if (at(two) != separator) return std::nullopt;
    const std::size_t three = skip_digits(two + 1);
    const std::array sizes = {one - begin_, two - one - 1, three - two - 1};
    if (sizes[1] < 1 || sizes[1] > 2) return std::nullopt;
    const std::array parts = {value_of(begin_, one), value_of(one + 1, two), value_of(two + 1, three)};
    Date date;
    if (sizes[0] == 4 && sizes[2] >= 1 && sizes[2] <= 2) {
      date.year = static_cast<std::int16_t>(parts[0]);
      date.month = static_cast<std::int8_t>(parts[1]);
      date.day = static_cast<std::int8_t>(parts[2]);
    } else if (sizes[0] >= 1 && sizes[0] <= 2 && (sizes[2] == 4 || (sizes[2] == 2 && separator == '/'))) {
      const int year = sizes[2] == 4 ? parts[2] : parts[2] + (parts[2] < 50 ? 2000 : 1900);
      date.year = static_cast<std::int16_t>(year);
      const bool day_first = parts[0] > 12;
      date.month = static_cast<std::int8_t>(parts[day_first ? 1 : 0]);
      date.day = static_cast<std::int8_t>(parts[day_first ? 0 : 1]);
      date.either_order = parts[0] <= 12 && parts[1] <= 12;
    } else {
      return std::nullopt;
    }
    if (date.month < 1 || date.month > 12 || date.day < 1 || date.day > 31) return std::nullopt;
    return date_run(date, three);
  }

  /// 17:30
  std::optional<DigitRun> read_time() const {
    const std::size_t one = skip_digits(begin_);
    if (one - begin_ > 2 || at(one) != ':') return std::nullopt;
    std::size_t two = skip_digits(one + 1);
    if (two - one != 3) return std::nullopt;
    const int hour = value_of(begin_, one);
    const int minute = value_of(one + 1, two);
    if (hour > 24 || minute > 59) return std::nullopt;
    if (at(two) == ':' && skip_digits(two + 1) == two + 3) two += 3;
    Date date;
    date.minute = static_cast<std::int16_t>(hour * 60 + minute);
    date.either_half = hour <= 12;
    return date_run(date, two);
  }

  /// The end of 1,000 or 1,00,000, or of its first group when there is no other.
  std::size_t end_of_groups(std::size_t end) const {
    if (end - begin_ > 3) return end;
    std::size_t stop = end;
    while (at(stop) == ',') {
      const std::size_t next = skip_digits(stop + 1);
      const std::size_t size = next - stop - 1;
      if (size < 2 || size > 3) break;
      stop = next;
    }
    return stop > end && text_[stop - 4] == ',' ? stop : end;
  }

  DigitRun read_number() const {
    DigitRun run;
    Number& number = run.number;
    const std::size_t first = skip_digits(begin_);
    const std::size_t whole = end_of_groups(first);
    std::size_t end = whole;
    std::size_t points = 0;
    while (at(end) == '.' && is(end + 1, digit)) {
      end = skip_digits(end + 1);
      ++points;
    }
    number.grouped = end != first;
    number.version = points >= 2;
    number.exact = points < 2 && end - begin_ <= 20;
    if (number.exact) {
      number.value = decimal(end);
      if (points == 0) end = read_fraction(end, number);
      const bool negative = begin_ > 0 && text_[begin_ - 1] == '-' && (begin_ == 1 || is(begin_ - 2, space | bracket));
      if (negative) number.value = -number.value;
    }
    number.ordinal = is_ordinal_ending(end);
    run.end = end;
    run.after = number.ordinal ? end + 2 : end;
    return run;
  }

  double decimal(std::size_t end) const {
    double value = 0;
    double scale = 0;  // of the digits after the point
    for (std::size_t i = begin_; i < end; ++i) {
      if (text_[i] == '.') scale = 1;
      if (!is(i, digit)) continue;
      value = value * 10 + (text_[i] - '0');
      scale *= 10;
    }
    return scale > 1 ? value / scale : value;
  }

  /// 1/2; but 500/1000 and 24/7 are two numbers.
  std::size_t read_fraction(std::size_t end, Number& number) const {
    if (at(end) != '/' || !is(end + 1, digit)) return end;
    const std::size_t stop = skip_digits(end + 1);
    const int below = value_of(end + 1, stop);
    if (below < 2 || below > 100 || number.value >= below || at(stop) == '/') return end;
    number.value /= below;
    number.grouped = true;
    return stop;
  }

  bool is_ordinal_ending(std::size_t i) const {
    if (is(i + 2, word)) return false;
    const std::array pair = {static_cast<char>(at(i) | 32), static_cast<char>(at(i + 1) | 32)};
    for (const std::string_view ending : {"st", "nd", "rd", "th"}) {
      if (pair[0] == ending[0] && pair[1] == ending[1]) return true;
    }
    return false;
  }

  std::string_view text_;
  std::size_t begin_;
};

}  // namespace

DigitRun read_digits(std::string_view text, std::size_t begin) { return DigitReader(text, begin).read(); }

}  // namespace promptcache::guards
