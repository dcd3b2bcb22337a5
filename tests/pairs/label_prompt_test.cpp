#include "promptcache/pairs/label_prompt.hpp"

#include "promptcache/base/digest.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

std::size_t count(const std::string& text, const std::string& piece) {
  std::size_t times = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++times;
  return times;
}

/// NaN stands for no answer.
double parsed(AnswerForm form, const std::string& text) { return parse_answer(form, text).value_or(-1); }

}  // namespace

TEST_CASE("a version is one text: whoever changes a word raises it") {
  const auto built = [](AnswerForm form) {
    const LabelPrompt prompt = LabelPrompt::builtin(form);
    return prompt.version() + " " + sha256(prompt.text()).hex().substr(0, 16);
  };
  CHECK(built(AnswerForm::yes_no) == "same-response-1/yes-no d660e444e2773e7d");
  CHECK(built(AnswerForm::graded) == "same-response-1/graded 82450dbd937298ae");
  CHECK(built(AnswerForm::percent) == "same-response-1/percent daaf2e72ccede0f2");
  CHECK(built(AnswerForm::json) == "same-response-1/json 9039a44ccbe81863");
}

TEST_CASE("prompts are put in as they are") {
  const LabelPrompt prompt = LabelPrompt::builtin(AnswerForm::yes_no);
  const std::string text = prompt.render("what is {q2}?", "{q1}{q2} {x} \"quoted\"\nline");
  CHECK(count(text, "what is {q2}?") == 1);
  CHECK(count(text, "{q1}{q2} {x} \"quoted\"\nline") == 1);
  CHECK(text.find("what is") < text.find("{q1}{q2}"));
  CHECK(count(text, "ONE response serves BOTH") == 1);

  const LabelPrompt own = LabelPrompt::from_text("{q2}-{q1}-{q2}", AnswerForm::graded, "t");
  CHECK(own.render("a", "{q1}") == "{q1}-a-{q1}");
  CHECK(own.form() == AnswerForm::graded);
  CHECK(own.render("", "") == "--");
}

TEST_CASE("a text of one's own has a version of its own") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("t.txt", "Same? {q1} / {q2}");
  const LabelPrompt own = LabelPrompt::open(path, AnswerForm::yes_no);
  CHECK(own.text() == "Same? {q1} / {q2}");
  CHECK(own.version() == "own-" + sha256("Same? {q1} / {q2}").hex().substr(0, 12) + "/yes-no");
  CHECK(LabelPrompt::from_text("Same?? {q1} / {q2}", AnswerForm::yes_no, "").version() != own.version());
  CHECK(LabelPrompt::from_text(own.text(), AnswerForm::json, "").version() != own.version());

  test::require_error(ErrorCode::format, {"no2.txt", "{q2}"},
                      [&] { LabelPrompt::open(directory.write("no2.txt", "{q1} {q3}"), AnswerForm::yes_no); });
  test::require_error(ErrorCode::format, {"empty.txt", "{q1}"},
                      [&] { LabelPrompt::open(directory.write("empty.txt", ""), AnswerForm::yes_no); });
  test::require_error(ErrorCode::not_found, {"none.txt"},
                      [&] { LabelPrompt::open(directory.file("none.txt"), AnswerForm::yes_no); });
  test::require_error(ErrorCode::access, {directory.path()},
                      [&] { LabelPrompt::open(directory.path(), AnswerForm::yes_no); });
}

TEST_CASE("yes and no, and nothing else") {
  for (const char* yes : {"yes", "Yes", "YES.", "  yes\n", "**Yes**", "\"yes\"", "`yes`!", "(Yes)", "'yes',",
                          "<think>they may differ: no</think>\n\nyes"}) {
    INFO(yes);
    CHECK(parsed(AnswerForm::yes_no, yes) == 1);
  }
  for (const char* no : {"no", "No.", "\tNO\r\n", "__no__", "<think></think>no"}) {
    INFO(no);
    CHECK(parsed(AnswerForm::yes_no, no) == 0);
  }
  for (const char* other :
       {"", " ", "...", "y", "n", "yes no", "yes, because", "no yes", "Answer: yes", "yess", "not", "maybe", "1",
        "true", "<think>yes", "<think>no</think>", "y es", "ye\xc5\x9f", "{\"same\": true}"}) {
    INFO(other);
    CHECK(parsed(AnswerForm::yes_no, other) == -1);
  }
  CHECK(parsed(AnswerForm::yes_no, std::string("yes\0", 4)) == -1);
}

TEST_CASE("grades and percentages") {
  CHECK(parsed(AnswerForm::graded, "0") == 0);
  CHECK(parsed(AnswerForm::graded, " 3. ") == 0.75);
  CHECK(parsed(AnswerForm::graded, "**4**") == 1);
  for (const char* other :
       {"", "5", "-1", "+1", "2.5", "3/4", "4 of 4", "four", "1e0", "99999999999999999999", "50%", "4%"}) {
    INFO(other);
    CHECK(parsed(AnswerForm::graded, other) == -1);
  }
  CHECK(parsed(AnswerForm::percent, "0") == 0);
  CHECK(parsed(AnswerForm::percent, "85") == 0.85);
  CHECK(parsed(AnswerForm::percent, "85%") == 0.85);
  CHECK(parsed(AnswerForm::percent, "`100 %`.") == 1);
  for (const char* other : {"", "%", "101", "-5", "0.85", "85.5", "85 percent", "85%%", "99999999999999999999"}) {
    INFO(other);
    CHECK(parsed(AnswerForm::percent, other) == -1);
  }
}

TEST_CASE("JSON") {
  CHECK(parsed(AnswerForm::json, R"({"same": true})") == 1);
  CHECK(parsed(AnswerForm::json, " {\"same\":false}\n") == 0);
  CHECK(parsed(AnswerForm::json, R"({"reason": "they differ", "same": false})") == 0);
  CHECK(parsed(AnswerForm::json, R"({"score": 0.25})") == 0.25);
  CHECK(parsed(AnswerForm::json, R"({"score": 1, "detail": {"same": false}})") == 1);
  CHECK(parsed(AnswerForm::json, "```json\n{\"same\": true}\n```") == 1);
  CHECK(parsed(AnswerForm::json, "```\n{\"same\": true}\n```") == 1);
  for (const char* other : {"",
                            "yes",
                            "true",
                            "1",
                            "[]",
                            "{}",
                            R"({"same": "true"})",
                            R"({"same": 1})",
                            R"({"same": null})",
                            R"({"score": true})",
                            R"({"score": 1.01})",
                            R"({"score": -0.1})",
                            R"({"score": "0.5"})",
                            R"({"same": true, "same": false})",
                            R"({"same": true, "score": 0})",
                            R"({"same": true)",
                            R"({"same": true} no)",
                            R"([{"same": true}])",
                            R"({"a": {"same": true}})",
                            "```",
                            "``````",
                            "```json```",
                            "{\"score\": 1e999}"}) {
    INFO(other);
    CHECK(parsed(AnswerForm::json, other) == -1);
  }
  CHECK(parsed(AnswerForm::json, std::string(200000, '[')) == -1);
  CHECK(parsed(AnswerForm::json, std::string(200000, '`')) == -1);
}

TEST_CASE("names of forms, and what tokens are estimated at") {
  for (AnswerForm form : {AnswerForm::yes_no, AnswerForm::graded, AnswerForm::percent, AnswerForm::json}) {
    CHECK(answer_form_from(to_string(form), "") == form);
  }
  test::require_error(ErrorCode::usage, {"--answer", "'yesno'", "graded"},
                      [] { answer_form_from("yesno", "--answer"); });
  CHECK(estimated_tokens("") == 0);
  CHECK(estimated_tokens("a") == 1);
  CHECK(estimated_tokens("four") == 1);
  CHECK(estimated_tokens("fives") == 2);
  CHECK(estimated_tokens("\xe6\x97\xa5\xe6\x9c\xac") == 2);  // two characters of Japanese
}
