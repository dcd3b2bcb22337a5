#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "promptcache/base/log.hpp"
#include "promptcache/base/progress.hpp"
#include "promptcache/pairs/label_prompt.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/pairs/teacher.hpp"

namespace promptcache {

struct LabelOptions {
  std::string journal;                ///< file that every answer is appended to
  bool resume = false;                ///< go on from the journal if there is one; otherwise one is an error
  bool ask_again = false;             ///< on resuming, ask once more what got no usable answer
  std::string model;                  ///< the teacher's name; a journal belongs to one
  double temperature = 0;             ///< likewise
  bool both_orders = false;           ///< ask (q1, q2) and (q2, q1); the label is the mean
  std::size_t parallel = 4;           ///< questions in flight at once
  double requests_per_minute = 0;     ///< evenly spaced; 0: no limit
  std::size_t retries = 4;            ///< of a question while the teacher is unavailable
  std::size_t budget_requests = 0;    ///< requests of this call, retries included; 0: no limit
  std::size_t budget_tokens = 0;      ///< tokens of this call, prompts and answers; 0: no limit
  std::size_t max_answer_tokens = 0;  ///< set aside for each answer while it is in flight; 0: what the form needs
  std::chrono::milliseconds first_delay{500};       ///< before the first retry; doubles, with jitter
  std::chrono::milliseconds longest_delay{30000};   ///< of the doubling
  std::chrono::milliseconds longest_pause{600000};  ///< a teacher that asks for a longer one ends the run
  std::uint64_t seed = 1;                           ///< of the jitter
};

/// What is known about one pair.
struct PairLabel {
  enum class State : std::uint8_t {
    unasked,
    answered,
    unparsable,  ///< two answers that were not of the form asked for
    refused,
    rejected,
  };

  State state = State::unasked;                               ///< with both orders, the worse one's
  double label = std::numeric_limits<double>::quiet_NaN();    ///< in [0, 1], NaN unless answered
  double forward = std::numeric_limits<double>::quiet_NaN();  ///< as (q1, q2)
  double reverse = std::numeric_limits<double>::quiet_NaN();  ///< as (q2, q1), with both orders
  std::string reason;                                         ///< what the teacher said instead, cut to one short line
};

const char* to_string(PairLabel::State state) noexcept;

/// How a run of `label_pairs` ended.
enum class LabelEnd {
  complete,       ///< every pair was asked
  interrupted,    ///< the callback `stop` said so
  out_of_budget,  ///< the next request could have gone over it
  failed,         ///< the teacher cannot be asked, or some questions failed to the last retry
};

const char* to_string(LabelEnd end) noexcept;

struct LabelResult {
  LabelEnd end = LabelEnd::complete;
  std::string why;                ///< of an end that is not complete, in one line
  std::vector<PairLabel> labels;  ///< one a pair
  std::size_t questions = 0;      ///< distinct ones: equal pairs are asked once
  std::size_t resumed = 0;        ///< of these, known from the journal
  std::size_t asked = 0;          ///< of these, settled by this call
  std::size_t failed = 0;         ///< of these, given up after the last retry
  std::size_t disagreements = 0;  ///< pairs whose two orders fell on different sides of 0.5
  // Of this call:
  std::size_t requests = 0;
  std::size_t retries = 0;
  std::size_t prompt_tokens = 0;
  std::size_t answer_tokens = 0;
  std::size_t estimated = 0;  ///< answers whose tokens the teacher did not state
};

struct LabelCallbacks {
  ProgressCallback progress;   ///< from the calling thread
  LogCallback log;             ///< from any thread
  std::function<bool()> stop;  ///< asked ten times a second; questions in flight are still waited for
};

/// Asks a teacher about every pair (labels in `pairs` are ignored). Each answer is on disk before the next question of
/// its thread is asked: a kill loses at most the `parallel` answers in flight, and a run that resumes asks those once
/// more and no other.
///
/// Throws `Error`: busy (another run has the journal), usage (a journal is there and `resume` is not set), mismatch (a
/// journal of other pairs, another prompt, model or temperature), format (a journal that is none), io (disk full); what
/// the teacher throws passes through. In each case the journal stays good to go on from.
LabelResult label_pairs(const std::vector<Pair>& pairs, const LabelPrompt& prompt, const Teacher& teacher,
                        const LabelOptions& options, const LabelCallbacks& callbacks = {});

/// What a run would do.
struct LabelPlan {
  std::size_t questions = 0;      ///< distinct ones
  std::size_t resumed = 0;        ///< of these, known from the journal
  std::size_t requests = 0;       ///< at least: the rest, without retries
  std::size_t prompt_tokens = 0;  ///< estimated, with 8 a request for what the teacher wraps around
  std::size_t answer_tokens = 0;  ///< at most
  std::string example;            ///< text of the first question
};

/// Asks nothing and writes nothing; reads the journal when `resume` is set. Throws as `label_pairs` does.
LabelPlan plan_labels(const std::vector<Pair>& pairs, const LabelPrompt& prompt, const LabelOptions& options);

}  // namespace promptcache
