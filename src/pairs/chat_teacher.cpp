#include "promptcache/pairs/chat_teacher.hpp"

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "pairs/http_reply.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::json;
using Outcome = TeacherReply::Outcome;

/// How an endpoint wants to be asked; becomes plainer as it refuses fields.
struct Dialect {
  bool json_mode = false;
  bool max_tokens = true;  // otherwise max_completion_tokens
  bool temperature = true;
};

class ChatTeacher {
 public:
  ChatTeacher(HttpPost post, ChatTeacherOptions options, LogCallback log)
      : post_(std::move(post)), options_(std::move(options)), log_(std::move(log)) {
    if (options_.max_answer_tokens == 0) options_.max_answer_tokens = default_answer_tokens(options_.form);
    dialect_.json_mode = options_.form == AnswerForm::json;
  }

  TeacherReply ask(const std::string& prompt) {
    const Dialect dialect = current();
    const HttpReply http = post_(body(prompt, dialect));
    TeacherReply reply = read(http, dialect);
    reply.text = pairs::without_secret(std::move(reply.text), options_.secret);
    reply.model = pairs::without_secret(std::move(reply.model), options_.secret);
    if (reply.outcome != Outcome::answered) reply.text = pairs::one_line(reply.text);
    return reply;
  }

 private:
  Dialect current() {
    const std::lock_guard lock(mutex_);
    return dialect_;
  }

  std::string body(const std::string& prompt, const Dialect& dialect) const {
    Json body = {{"model", options_.model}, {"messages", {{{"role", "user"}, {"content", prompt}}}}};
    body[dialect.max_tokens ? "max_tokens" : "max_completion_tokens"] = options_.max_answer_tokens;
    if (dialect.temperature) body["temperature"] = options_.temperature;
    if (dialect.json_mode) body["response_format"] = {{"type", "json_object"}};
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);  // a log may have bytes that are not UTF-8
  }

  TeacherReply read(const HttpReply& http, const Dialect& dialect) {
    if (http.status == 0) {
      return {.outcome = http.hopeless ? Outcome::hopeless : Outcome::unavailable, .text = http.failure};
    }
    if (http.status == 200) {
      TeacherReply reply = pairs::read_chat_completion(http.body);
      if (reply.outcome != Outcome::unavailable && dialect.json_mode) {
        const std::lock_guard lock(mutex_);
        json_mode_worked_ = true;
      }
      return reply;
    }
    std::string problem = pairs::message_of_error(http.body);
    // The secret goes before anything is cut, lest half of it stay.
    problem = pairs::one_line(pairs::without_secret(std::move(problem), options_.secret));
    if ((http.status == 400 || http.status == 422) && adapt(problem, dialect)) return {.outcome = Outcome::again};
    return pairs::read_http_error(http, problem);
  }

  /// Whether asking in another way may help: drops what the endpoint complains about.
  bool adapt(const std::string& problem, const Dialect& asked) {
    const auto mentions = [&](const char* field) { return problem.find(field) != std::string::npos; };
    const std::lock_guard lock(mutex_);
    // Some endpoints refuse JSON mode without naming the field; one that has worked is not to blame.
    if (asked.json_mode && (mentions("response_format") || !json_mode_worked_)) {
      return change(dialect_.json_mode, "JSON mode (response_format)", "asking without it", problem);
    }
    if (asked.max_tokens && mentions("max_tokens")) {
      return change(dialect_.max_tokens, "max_tokens", "asking with max_completion_tokens", problem);
    }
    if (asked.temperature && mentions("temperature")) {
      return change(dialect_.temperature, "temperature", "asking without, so answers may vary", problem);
    }
    return false;
  }

  bool change(bool& field, const char* what, const char* instead, const std::string& problem) {
    if (std::exchange(field, false) && log_) {
      log_(LogLevel::warning, std::string("the endpoint refuses ") + what + ", " + instead + ": " + problem);
    }
    return true;  // also when another thread has changed it meanwhile
  }

  HttpPost post_;
  ChatTeacherOptions options_;
  LogCallback log_;
  std::mutex mutex_;
  Dialect dialect_;
  bool json_mode_worked_ = false;
};

}  // namespace

Teacher make_chat_teacher(HttpPost post, ChatTeacherOptions options, LogCallback log) {
  const auto teacher = std::make_shared<ChatTeacher>(std::move(post), std::move(options), std::move(log));
  return [teacher](const std::string& prompt) { return teacher->ask(prompt); };
}

}  // namespace promptcache
