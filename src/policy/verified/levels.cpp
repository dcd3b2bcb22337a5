#include "policy/verified/levels.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace promptcache::verified {
namespace {

struct Share {
  double of_candidates;  // that are in the level, of the first ones
  double weight;
};

// Most of the confidence goes where a level is both likely to be clean and large enough to be proven soon.
constexpr Share shares[] = {{0.02, 0.01}, {0.05, 0.01}, {0.1, 0.06}, {0.15, 0.02}, {0.2, 0.1},
                            {0.3, 0.25},  {0.4, 0.15},  {0.5, 0.2},  {0.6, 0.05},  {0.7, 0.05},
                            {0.8, 0.03},  {0.9, 0.02},  {1, 0.02}};

// Levels above all first scores, for entries that verdicts have raised there: odds against them, relative to the best.
constexpr Share above[] = {{1.0 / 27, 0.01}, {1.0 / 9, 0.01}, {1.0 / 3, 0.01}};

constexpr double window = 4096;  // requests over which rates are estimated, about

}  // namespace

void Levels::certify(const Scored& least) {
  Level level;
  level.score = least.score;
  level.model = least.model;
  level.open = true;
  level.wrong = 0;
  levels_.push_back(level);
  choose_current();
}

void Levels::count_request(double score) {
  if (options_.over_requests) {
    requests_ += 1;
    if (requests_ >= window) {
      requests_ /= 2;
      for (Level& level : levels_) level.wrong /= 2;
    }
    choose_current();
  }
  if (ready()) return;
  scores_.push_back(score);
  if (ready()) make_levels();
}

void Levels::make_levels() {
  std::vector<double> sorted = scores_;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const auto add = [&](double score, double weight) {
    for (Level& level : levels_) {
      if (level.score == score && level.weight > 0) {
        level.weight += weight;
        return;
      }
    }
    Level level;
    level.score = score;
    level.weight = weight;
    level.wrong = 2;  // so that some requests are needed before it is taken
    levels_.push_back(level);
  };
  const double best = std::min(sorted.front(), 1 - 1e-6);
  for (const Share& share : above) {
    const double odds = share.of_candidates * (1 - best) / std::max(best, 1e-6);
    add(1 / (1 + odds), share.weight);
  }
  for (const Share& share : shares) {
    const auto count = static_cast<std::size_t>(std::lround(share.of_candidates * static_cast<double>(sorted.size())));
    add(sorted[std::max<std::size_t>(count, 1) - 1], share.weight);
  }
  std::stable_sort(levels_.begin(), levels_.end(), [](const Level& a, const Level& b) { return a.score > b.score; });
  choose_current();
}

const Level* Levels::current() const { return current_ == none ? nullptr : &levels_[current_]; }

bool Levels::explorable(const Scored& candidate) const { return !ready() || levels_.back().holds(candidate); }

void Levels::choose_current() {
  current_ = none;
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    const Level& level = levels_[i];
    const bool good = options_.over_requests ? level.wrong <= 0.9 * options_.epsilon * requests_ : level.open;
    if (good) current_ = i;
  }
}

double Levels::alpha(std::size_t level) const {
  double weight = 0;
  for (std::size_t i = level + 1; i-- > 0;) {
    weight += levels_[i].weight;
    if (i == 0 || !levels_[i - 1].open || levels_[i - 1].opened_in != epoch_) break;
  }
  const auto k = static_cast<double>(epoch_);
  return options_.delta * weight * (epoch_ == 0 ? 0.7 : 0.3 / (k * (k + 1)));  // sums to delta
}

bool Levels::observe(const Scored& candidate, bool wrong, double weight, double audit_probability) {
  if (!ready() && levels_.empty()) return false;
  if (options_.over_requests) {
    for (Level& level : levels_) {
      if (wrong && level.holds(candidate)) level.wrong += 1 / audit_probability;
    }
    choose_current();
    return false;
  }
  std::size_t alarmed = none;
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    Level& level = levels_[i];
    if (!level.holds(candidate)) continue;
    if (level.open) {
      level.alarm.observe(wrong, weight, options_.epsilon);
      if (wrong && level.alarm.sum() >= options_.false_alarm_after) alarmed = std::min(alarmed, i);
    } else {
      level.test.observe(wrong, weight, options_.epsilon);
      if (level.test.capital() < 1 / alpha(i)) continue;
      level.open = true;
      level.opened_in = epoch_;
      level.alarm.restart();
    }
  }
  if (alarmed != none) close_from(alarmed);
  choose_current();
  return alarmed != none;
}

bool Levels::close_current() {
  if (options_.over_requests || current_ == none) return false;
  close_from(current_);
  choose_current();
  return true;
}

void Levels::close_all() {
  close_from(0);
  choose_current();
}

/// Begins an epoch: what is closed now is tested by what comes from now on.
void Levels::close_from(std::size_t first) {
  ++epoch_;
  for (std::size_t i = first; i < levels_.size(); ++i) {
    levels_[i].open = false;
    levels_[i].test.restart();
    levels_[i].alarm.restart();
  }
}

void Levels::save(StateWriter& writer) const {
  writer.add(epoch_);
  writer.add(requests_);
  writer.add(static_cast<std::uint64_t>(scores_.size()));
  for (const double score : scores_) writer.add(score);
  writer.add(static_cast<std::uint64_t>(levels_.size()));
  for (const Level& level : levels_) {
    writer.add(level.score);
    writer.add(level.model);
    writer.add(level.weight);
    writer.add(std::uint64_t{level.open});
    writer.add(level.opened_in);
    writer.add(level.wrong);
    OpeningTest::numbers(level.test, [&](double number) { writer.add(number); });
    Alarm::numbers(level.alarm, [&](double number) { writer.add(number); });
  }
}

void Levels::load(StateReader& reader) {
  epoch_ = reader.whole();
  requests_ = reader.number();
  scores_.resize(reader.count(scores_wanted));
  for (double& score : scores_) score = reader.number();
  levels_.resize(reader.count(std::size(shares) + std::size(above) + 1));
  for (Level& level : levels_) {
    level.score = reader.number();
    level.model = reader.number();
    level.weight = reader.number();
    level.open = reader.whole() != 0;
    level.opened_in = reader.whole();
    level.wrong = reader.number();
    OpeningTest::numbers(level.test, [&](double& number) { number = reader.number(); });
    Alarm::numbers(level.alarm, [&](double& number) { number = reader.number(); });
  }
  choose_current();
}

}  // namespace promptcache::verified
