#pragma once

#include <vector>

#include "promptcache/eval/simulation.hpp"

namespace promptcache::eval {

/// Counts the decisions of one stream; shared by the real cache and its simulation, so that they mean the same.
class Tally {
 public:
  Tally(const PromptTruth& truth, std::vector<RequestTrace>* trace)
      : truth_(truth), trace_(trace), seen_(truth.components()) {}

  void miss(std::size_t prompt) { note(prompt, {}); }
  void exact(std::size_t prompt) {
    ++counts.exact_hits;
    note(prompt, {prompt, true});
  }
  void similar(std::size_t prompt, std::size_t served) {
    switch (truth_.judge(prompt, served)) {
      case Truth::right: ++counts.right_hits; break;
      case Truth::wrong: ++counts.wrong_hits; break;
      case Truth::unknown: ++counts.unknown_hits; break;
    }
    note(prompt, {served, false});
  }

  StreamCounts counts;

 private:
  void note(std::size_t prompt, const RequestTrace& what) {
    ++counts.requests;
    auto seen = seen_[truth_.component(prompt)];
    if (seen) ++counts.possible_hits;
    seen = true;
    if (trace_ != nullptr) trace_->push_back(what);
  }

  const PromptTruth& truth_;
  std::vector<RequestTrace>* trace_;
  std::vector<bool> seen_;
};

}  // namespace promptcache::eval
