#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "pairs/label_journal.hpp"
#include "promptcache/pairs/labelling.hpp"

namespace promptcache::pairs {

/// One thing to ask: a pair, in one order.
struct Question {
  std::size_t pair = 0;  ///< the first pair that asks it
  bool reversed = false;
};

/// The distinct questions of pairs, and where each pair finds its own.
class LabelQuestions {
 public:
  LabelQuestions(const std::vector<Pair>& pairs, bool both_orders);

  const std::vector<Question>& all() const noexcept { return questions_; }

  /// The text that asks a question.
  std::string text(const LabelPrompt& prompt, const Question& question) const;

  /// The entry of each question, null where there is none. A journal may hold both orders, or one, whatever this run
  /// wants: questions are recognised by their texts.
  std::vector<const JournalEntry*> match(std::span<const JournalEntry> entries, const std::string& path) const;

  /// Puts the entries of each question together to labels of pairs, into `result.labels` and `result.disagreements`.
  void settle(const std::vector<const JournalEntry*>& entries, LabelResult& result) const;

 private:
  static std::string key_of(const Pair& pair, bool reversed);

  const std::vector<Pair>& pairs_;
  std::vector<Question> questions_;
  std::vector<std::size_t> forward_, reverse_;  ///< of each pair, among the questions; reverse_ empty without
  std::vector<std::string> keys_;               ///< of each question
};

/// The header of a journal of these pairs.
JournalHeader header_of(const std::vector<Pair>& pairs, const LabelPrompt& prompt, const LabelOptions& options);

}  // namespace promptcache::pairs
