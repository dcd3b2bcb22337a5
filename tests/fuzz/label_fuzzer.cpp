// What a teacher sends back: replies over HTTP, and the answers in them.
#include "fuzz.hpp"
#include "pairs/http_reply.hpp"
#include "promptcache/pairs/label_prompt.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace promptcache;
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (AnswerForm form : {AnswerForm::yes_no, AnswerForm::graded, AnswerForm::percent, AnswerForm::json}) {
    const std::optional<double> label = parse_answer(form, text);
    if (label && !(*label >= 0 && *label <= 1)) __builtin_trap();
  }
  const Teacher teacher = make_chat_teacher(
      [&](const std::string&) {
        HttpReply reply;
        reply.status = size % 2 == 0 ? 200 : 400 + static_cast<int>(size % 200);
        reply.body = reply.retry_after = text;
        return reply;
      },
      {.model = "m", .form = AnswerForm::json, .secret = "secret"});
  const TeacherReply reply = teacher(text);
  if (reply.text.find("secret") != std::string::npos) __builtin_trap();
  return 0;
}
