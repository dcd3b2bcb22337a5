#include "promptcache/pairs/labelling.hpp"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "pairs/http_reply.hpp"
#include "pairs/label_journal.hpp"
#include "pairs/label_pacing.hpp"
#include "pairs/label_questions.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

using pairs::Budget;
using pairs::JournalEntry;
using pairs::LabelJournal;
using pairs::LabelQuestions;
using pairs::PacingClock;
using pairs::Question;
using State = PairLabel::State;
using Outcome = TeacherReply::Outcome;
using Lock = std::unique_lock<std::mutex>;

// With no answer at all so far, so many rejections in a row mean that every request is wrong, not these questions.
constexpr std::size_t telling_rejections = 3;
// After some answers, so many questions in a row that failed to the last retry mean that the teacher is gone.
constexpr std::size_t telling_failures = 5;

/// One call of label_pairs. The calling thread writes the journal, for all that have answered meanwhile at once, and
/// reports; workers ask, and wait until their answer is on disk.
class Run {
 public:
  Run(const std::vector<Pair>& all, const LabelPrompt& prompt, const Teacher& teacher, const LabelOptions& options,
      const LabelCallbacks& callbacks)
      : prompt_(prompt),
        teacher_(teacher),
        options_(options),
        callbacks_(callbacks),
        questions_(all, options.both_orders),
        journal_(options.journal, pairs::header_of(all, prompt, options), options.resume, callbacks.log),
        rate_(options.requests_per_minute),
        budget_(options.budget_requests, options.budget_tokens),
        random_(options.seed) {
    known_.resize(questions_.all().size());
    const auto found = questions_.match(journal_.entries(), options.journal);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] == nullptr) continue;
      if (options.ask_again && found[i]->state != State::answered) continue;
      known_[i] = *found[i];
      ++result_.resumed;
      if (found[i]->state == State::answered) answered_ever_ = true;
    }
    result_.questions = known_.size();
  }

  LabelResult go() {
    std::vector<std::thread> workers;
    const std::size_t open = known_.size() - result_.resumed;
    working_ = std::min(options_.parallel, open);
    report();
    for (std::size_t i = 0, count = working_; i < count; ++i) {
      try {
        workers.emplace_back([this] { work(); });
      } catch (const std::system_error&) {  // no more threads to be had: fewer do as well, none does not
        const std::lock_guard lock(mutex_);
        working_ -= count - i;
        if (i == 0) broken_ = std::current_exception();
        break;
      }
    }
    lead();
    for (std::thread& worker : workers) worker.join();
    if (broken_) std::rethrow_exception(broken_);
    return summary();
  }

 private:
  /// An answer on its way to the journal.
  struct Settled {
    std::size_t question;
    JournalEntry entry;
  };

  // The calling thread.

  void lead() {
    Lock lock(mutex_);
    for (;;) {
      for_leader_.wait_for(lock, std::chrono::milliseconds(100), [&] { return !queue_.empty() || working_ == 0; });
      if (!queue_.empty()) {
        save(lock);
      } else if (working_ == 0) {
        return;
      }
      lock.unlock();
      std::exception_ptr failure;
      try {
        if (callbacks_.stop && callbacks_.stop()) end(LabelEnd::interrupted, "stopped on request");
        report();
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure) fail(failure);
    }
  }

  void fail(std::exception_ptr failure) {
    if (!broken_) broken_ = std::move(failure);
    for_workers_.notify_all();
  }

  void save(Lock& lock) {
    const std::vector<Settled> batch = std::exchange(queue_, {});
    if (broken_) return;
    lock.unlock();
    std::vector<JournalEntry> entries;
    for (const Settled& settled : batch) entries.push_back(settled.entry);
    std::exception_ptr failure;
    try {
      journal_.append(entries);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) {
      fail(failure);
    } else {
      for (const Settled& settled : batch) known_[settled.question] = settled.entry;
      result_.asked += batch.size();
      on_disk_ += batch.size();
    }
    for_workers_.notify_all();
  }

  void report() {
    if (!callbacks_.progress) return;
    Progress progress{.stage = "labelling", .unit = "questions", .note = {}};
    std::string note;
    {
      const std::lock_guard lock(mutex_);
      progress.done = result_.resumed + result_.asked;
      progress.total = known_.size();
      if (unusable_ > 0) note += std::to_string(unusable_) + " without an answer";
      if (result_.retries > 0) note += (note.empty() ? "" : ", ") + std::to_string(result_.retries) + " retries";
    }
    progress.note = note;
    callbacks_.progress(progress);
  }

  LabelResult summary() {
    result_.requests = budget_.requests();
    std::vector<const JournalEntry*> entries;
    std::size_t open = 0;
    for (const std::optional<JournalEntry>& entry : known_) {
      entries.push_back(entry ? &*entry : nullptr);
      if (!entry) ++open;
    }
    questions_.settle(entries, result_);
    if (end_) {
      result_.end = *end_;
      result_.why = why_;
    } else if (open > 0) {
      result_.end = LabelEnd::failed;
      result_.why = std::to_string(open) + " of " + std::to_string(known_.size()) +
                    " questions could not be asked, the last one: " + last_problem_;
    }
    return std::move(result_);
  }

  // The workers.

  void work() {
    try {
      while (const std::optional<std::size_t> question = next()) {
        if (!ask(*question)) break;
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      fail(std::current_exception());
    }
    const std::lock_guard lock(mutex_);
    --working_;
    for_leader_.notify_one();
  }

  bool over() const { return end_.has_value() || broken_ != nullptr; }

  void end(LabelEnd how, std::string why) {
    const std::lock_guard lock(mutex_);
    end_locked(how, std::move(why));
  }
  void end_locked(LabelEnd how, std::string why) {
    if (over()) return;
    end_ = how;
    why_ = std::move(why);
    for_workers_.notify_all();
  }

  std::optional<std::size_t> next() {
    const std::lock_guard lock(mutex_);
    while (next_ < known_.size() && known_[next_]) ++next_;
    if (over() || next_ >= known_.size()) return std::nullopt;
    return next_++;
  }

  /// Waits for budget and rate. Whether the request may go.
  bool may_send(Lock& lock, std::size_t tokens) {
    for (;;) {
      if (over()) return false;
      const Budget::Verdict verdict = budget_.request(tokens);
      if (verdict == Budget::Verdict::granted) break;
      if (verdict == Budget::Verdict::spent) {
        end_locked(LabelEnd::out_of_budget, "the next request could go over the budget");
        return false;
      }
      for_workers_.wait(lock);
    }
    while (!over()) {
      const PacingClock::time_point now = PacingClock::now(), earliest = rate_.earliest();
      if (now >= earliest) {
        rate_.take(now);
        return true;
      }
      for_workers_.wait_until(lock, earliest);
    }
    budget_.give_back(tokens);
    return false;
  }

  /// Asks until there is an outcome, and hands it over. Whether the run goes on.
  bool ask(std::size_t number) {
    const Question& question = questions_.all()[number];
    const std::string text = questions_.text(prompt_, question);
    const std::size_t prompt_tokens = estimated_tokens(text) + pairs::wrapping_tokens;
    const std::size_t set_aside = prompt_tokens + pairs::answer_room(prompt_, options_);
    JournalEntry entry{.pair = question.pair, .reversed = question.reversed};
    std::size_t failures = 0, changes = 0, unparsable = 0;

    for (Lock lock(mutex_);;) {
      if (!may_send(lock, set_aside)) return false;
      lock.unlock();
      TeacherReply reply;
      try {
        reply = teacher_(text);
      } catch (...) {
        lock.lock();
        budget_.settle(set_aside, 0);
        throw;
      }
      lock.lock();
      ++entry.requests;
      account(reply, prompt_tokens, set_aside, entry);

      switch (reply.outcome) {
        case Outcome::answered:
        case Outcome::refused:
        case Outcome::rejected:
          if (conclude(reply, unparsable, entry)) return hand_over(lock, number, std::move(entry));
          ++result_.retries;
          break;
        case Outcome::again:
          if (++changes > 8)
            throw Error(ErrorCode::io, {"teacher"}, "asked to be asked again without end", "an answer");
          ++result_.retries;
          break;
        case Outcome::hopeless: end_locked(LabelEnd::failed, reply.text); return false;
        case Outcome::unavailable:
          if (!wait_to_retry(lock, reply, failures++)) return !over();
          break;
      }
    }
  }

  void account(const TeacherReply& reply, std::size_t prompt_tokens, std::size_t set_aside, JournalEntry& entry) {
    std::size_t prompt = reply.prompt_tokens.value_or(0), answer = reply.answer_tokens.value_or(0);
    if (reply.outcome == Outcome::answered || reply.outcome == Outcome::refused) {
      if (!reply.prompt_tokens || !reply.answer_tokens) {
        prompt = reply.prompt_tokens.value_or(prompt_tokens);
        answer = reply.answer_tokens.value_or(estimated_tokens(reply.text));
        entry.estimated = true;
        ++result_.estimated;
      }
    }
    budget_.settle(set_aside, prompt + answer);
    entry.prompt_tokens += prompt;
    entry.answer_tokens += answer;
    result_.prompt_tokens += prompt;
    result_.answer_tokens += answer;
    for_workers_.notify_all();  // some may wait for what is left of the budget
  }

  /// Fills in what the reply means; false when it is an answer that cannot be read, for the first time.
  bool conclude(const TeacherReply& reply, std::size_t& unparsable, JournalEntry& entry) {
    failures_in_a_row_ = 0;
    entry.model = reply.model;
    entry.text = pairs::one_line(reply.text);
    entry.state = reply.outcome == Outcome::refused ? State::refused : State::rejected;
    if (reply.outcome == Outcome::answered) {
      const std::optional<double> value = parse_answer(prompt_.form(), reply.text);
      entry.state = value ? State::answered : State::unparsable;
      entry.value = value.value_or(0);
      if (!value && unparsable++ == 0) return false;
    }
    return true;
  }

  /// Puts an outcome before the journal and waits until it is on disk.
  bool hand_over(Lock& lock, std::size_t question, JournalEntry entry) {
    if (entry.state != State::answered) ++unusable_;
    if (entry.state != State::rejected) answered_ever_ = true;  // refused and unparsable ones speak the protocol too
    if (!answered_ever_) {
      // Not yet in the journal: it may be the request that is wrong, and the questions are to be asked once more then.
      last_problem_ = entry.text;
      held_.push_back({question, std::move(entry)});
      if (held_.size() >= telling_rejections || held_.size() == known_.size()) {
        end_locked(LabelEnd::failed, "every request is rejected: " + last_problem_);
      }
      return !over();
    }
    for (Settled& settled : held_) queue_.push_back(std::move(settled));
    queue_.push_back({question, std::move(entry)});
    const std::size_t mine = handed_over_ += held_.size() + 1;
    held_.clear();
    for_leader_.notify_one();
    for_workers_.wait(lock, [&] { return on_disk_ >= mine || broken_ != nullptr; });
    return !over();
  }

  /// Waits before the next try; false when the question is given up or the run is over.
  bool wait_to_retry(Lock& lock, const TeacherReply& reply, std::size_t failures) {
    last_problem_ = reply.text;
    if (reply.retry_after > options_.longest_pause) {
      end_locked(LabelEnd::failed, "the teacher wants not to be asked for " +
                                       std::to_string(reply.retry_after.count() / 1000) + " s: " + reply.text);
      return false;
    }
    if (failures >= options_.retries) {
      ++result_.failed;
      const std::size_t telling = answered_ever_ ? telling_failures : 1;
      if (++failures_in_a_row_ >= telling) {
        end_locked(LabelEnd::failed, reply.text + " (" + std::to_string(failures + 1) + " tries)");
      } else if (callbacks_.log) {
        callbacks_.log(LogLevel::warning,
                       "a question is given up after " + std::to_string(failures + 1) + " tries: " + reply.text);
      }
      return false;
    }
    ++result_.retries;
    const PacingClock::time_point now = PacingClock::now();
    if (reply.retry_after.count() > 0) rate_.pause_until(now + reply.retry_after);  // the limit is on all of us
    const PacingClock::time_point until =
        now + std::max(reply.retry_after, pairs::back_off(options_, failures, random_));
    for_workers_.wait_until(lock, until, [&] { return over(); });
    return !over();
  }

  const LabelPrompt& prompt_;
  const Teacher& teacher_;
  const LabelOptions& options_;
  const LabelCallbacks& callbacks_;
  LabelQuestions questions_;
  LabelJournal journal_;  // the calling thread's

  std::mutex mutex_;  // of everything below
  std::condition_variable for_leader_;
  std::condition_variable for_workers_;
  std::vector<std::optional<JournalEntry>> known_;  // of each question
  LabelResult result_;
  pairs::RateLimit rate_;
  Budget budget_;
  std::mt19937_64 random_;
  std::size_t next_ = 0;
  std::size_t working_ = 0;  // threads
  std::vector<Settled> queue_;
  std::vector<Settled> held_;
  std::size_t handed_over_ = 0, on_disk_ = 0;
  std::size_t unusable_ = 0;
  std::size_t failures_in_a_row_ = 0;
  bool answered_ever_ = false;
  std::optional<LabelEnd> end_;
  std::string why_;
  std::string last_problem_;
  std::exception_ptr broken_;
};

}  // namespace

LabelResult label_pairs(const std::vector<Pair>& pairs, const LabelPrompt& prompt, const Teacher& teacher,
                        const LabelOptions& options, const LabelCallbacks& callbacks) {
  pairs::check(options);
  return Run(pairs, prompt, teacher, options, callbacks).go();
}

}  // namespace promptcache
