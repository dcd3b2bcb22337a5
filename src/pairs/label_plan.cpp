#include "pairs/label_pacing.hpp"
#include "pairs/label_questions.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/pairs/labelling.hpp"

namespace promptcache {

using pairs::JournalEntry;
using pairs::LabelQuestions;
using State = PairLabel::State;

void pairs::check(const LabelOptions& options) {
  const auto refuse = [](const char* what, const std::string& found, const char* wanted) {
    throw Error(ErrorCode::usage, {what}, found, wanted);
  };
  if (options.journal.empty()) refuse("journal", "no path", "a file for the answers");
  if (options.parallel < 1 || options.parallel > 1024) {
    refuse("parallel", std::to_string(options.parallel), "1 to 1024 questions at once");
  }
  if (!(options.requests_per_minute >= 0)) {
    refuse("requests per minute", std::to_string(options.requests_per_minute), "a number that is not negative");
  }
}

const char* to_string(PairLabel::State state) noexcept {
  switch (state) {
    case State::unasked: return "unasked";
    case State::answered: return "answered";
    case State::unparsable: return "unparsable";
    case State::refused: return "refused";
    case State::rejected: return "rejected";
  }
  return "";
}

const char* to_string(LabelEnd end) noexcept {
  switch (end) {
    case LabelEnd::complete: return "complete";
    case LabelEnd::interrupted: return "interrupted";
    case LabelEnd::out_of_budget: return "out of budget";
    case LabelEnd::failed: return "failed";
  }
  return "";
}

LabelPlan plan_labels(const std::vector<Pair>& pairs, const LabelPrompt& prompt, const LabelOptions& options) {
  const LabelQuestions questions(pairs, options.both_orders);
  std::vector<JournalEntry> entries;
  if (options.resume) entries = pairs::read_journal(options.journal, pairs::header_of(pairs, prompt, options));
  const auto known = questions.match(entries, options.journal);
  LabelPlan plan;
  plan.questions = known.size();
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i] != nullptr && !(options.ask_again && known[i]->state != State::answered)) {
      ++plan.resumed;
      continue;
    }
    const std::string text = questions.text(prompt, questions.all()[i]);
    if (plan.requests++ == 0) plan.example = text;
    plan.prompt_tokens += estimated_tokens(text) + pairs::wrapping_tokens;
    plan.answer_tokens += pairs::answer_room(prompt, options);
  }
  return plan;
}

}  // namespace promptcache
