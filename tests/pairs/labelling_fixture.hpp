#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "promptcache/pairs/labelling.hpp"
#include "support.hpp"

namespace test {

using namespace promptcache;
using Outcome = TeacherReply::Outcome;
using State = PairLabel::State;

inline std::vector<Pair> numbered_pairs(int count) {
  std::vector<Pair> pairs;
  for (int i = 0; i < count; ++i) {
    Pair pair;
    pair.q1 = "first " + std::to_string(i);
    pair.q2 = "second " + std::to_string(i);
    pairs.push_back(pair);
  }
  return pairs;
}

inline const LabelPrompt& plain_prompt() {
  static const LabelPrompt prompt = LabelPrompt::from_text("{q1}|{q2}", AnswerForm::percent, "test");
  return prompt;
}

/// The answer that depends on the question alone: a percentage.
inline std::string verdict(const std::string& question) {
  return std::to_string(std::hash<std::string>()(question) % 101);
}
inline double value(const std::string& question) { return std::stod(verdict(question)) / 100; }

/// Counts what it is asked; answers by `verdict` unless told otherwise.
class Recorder {
 public:
  std::function<TeacherReply(const std::string&, std::size_t times)> behave;

  Teacher teacher() {
    return [this](const std::string& question) {
      std::size_t times = 0;
      {
        const std::lock_guard lock(mutex_);
        times = ++asked_[question];
        ++total_;
      }
      if (behave) return behave(question, times);
      return TeacherReply{.text = verdict(question)};
    };
  }
  std::map<std::string, std::size_t> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  std::size_t total() {
    const std::lock_guard lock(mutex_);
    return total_;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::size_t> asked_;
  std::size_t total_ = 0;
};

struct Fixture {
  TemporaryDirectory directory;
  LabelOptions options;
  Recorder recorder;
  LabelCallbacks callbacks;

  Fixture() {
    options.journal = directory.file("journal.jsonl");
    options.model = "teacher-1";
    options.first_delay = std::chrono::milliseconds(1);
  }
  LabelResult run(const std::vector<Pair>& pairs) {
    return label_pairs(pairs, plain_prompt(), recorder.teacher(), options, callbacks);
  }
  std::vector<std::string> journal_lines() const {
    std::vector<std::string> lines;
    std::ifstream in(options.journal);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
};

inline TeacherReply reply_of(Outcome outcome, const std::string& text) { return {.outcome = outcome, .text = text}; }

inline bool same(const std::vector<PairLabel>& a, const std::vector<PairLabel>& b) {
  const auto equal = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const PairLabel& x, const PairLabel& y) {
    return x.state == y.state && equal(x.label, y.label) && equal(x.forward, y.forward) &&
           equal(x.reverse, y.reverse) && x.reason == y.reason;
  });
}

}  // namespace test
