#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace promptcache {

/// What a teacher is asked to answer with.
enum class AnswerForm {
  yes_no,   ///< one word: yes is 1, no is 0
  graded,   ///< one digit from 0 to 4, divided by 4
  percent,  ///< a whole number from 0 to 100, divided by 100
  json,     ///< an object with one of "same" (a boolean) and "score" (a number in [0, 1])
};

/// "yes-no", "graded", "percent" or "json".
const char* to_string(AnswerForm form) noexcept;

/// From `to_string`. Throws `Error(usage)` naming `place` for any other text.
AnswerForm answer_form_from(std::string_view text, const std::string& place);

/// Room for an answer of this form, in tokens.
std::size_t default_answer_tokens(AnswerForm form) noexcept;

/// The label in [0, 1] that an answer states, or nothing. Case, white space, punctuation and Markdown's marks around
/// the word or number do not matter, a leading <think>...</think> and a code fence around JSON are skipped; whatever
/// else is there makes it no answer: nothing is guessed.
std::optional<double> parse_answer(AnswerForm form, std::string_view text);

/// How many tokens a text has, about: four ASCII characters, or one other, count as one. For budgets and estimates
/// where a teacher does not say.
std::size_t estimated_tokens(std::string_view text) noexcept;

/// The text that asks a teacher whether one response serves two prompts, with a version that is recorded beside each
/// answer. The same version is the same text, always.
class LabelPrompt {
 public:
  /// Our own text: the rule, a few examples, the two prompts, and what to answer with.
  static LabelPrompt builtin(AnswerForm form);

  /// A text of the caller's with the placeholders {q1} and {q2}, whose answers are of this form. Its version is made of
  /// its digest. Throws `Error(format)` naming `place` when a placeholder is missing.
  static LabelPrompt from_text(std::string text, AnswerForm form, const std::string& place);

  /// `from_text` of a file.
  static LabelPrompt open(const std::string& path, AnswerForm form);

  /// The text for two prompts. Placeholders inside the prompts stay as they are.
  std::string render(std::string_view q1, std::string_view q2) const;

  const std::string& version() const noexcept { return version_; }  ///< for example "same-response-1/yes-no"
  const std::string& text() const noexcept { return text_; }        ///< with the placeholders
  AnswerForm form() const noexcept { return form_; }

 private:
  LabelPrompt(std::string text, std::string version, AnswerForm form);

  std::string text_;
  std::string version_;
  AnswerForm form_;
};

}  // namespace promptcache
