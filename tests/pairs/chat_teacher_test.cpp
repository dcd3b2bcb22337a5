#include "promptcache/pairs/chat_teacher.hpp"

#include <nlohmann/json.hpp>
#include <vector>

#include "pairs/http_reply.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using nlohmann::json;
using Outcome = TeacherReply::Outcome;

std::string completion(const json& message, const std::string& finish = "stop") {
  return json{{"model", "m-1"},
              {"choices", {{{"message", message}, {"finish_reason", finish}}}},
              {"usage", {{"prompt_tokens", 12}, {"completion_tokens", 3}}}}
      .dump();
}

TeacherReply ask_once(const HttpReply& http, const std::string& secret = "") {
  return make_chat_teacher([&](const std::string&) { return http; }, {.model = "m", .secret = secret})("q");
}

HttpReply reply_of(int status, const std::string& body) {
  HttpReply reply;
  reply.status = status;
  reply.body = body;
  return reply;
}

}  // namespace

TEST_CASE("asks in the form of chat completions") {
  std::vector<json> bodies;
  const HttpPost post = [&](const std::string& body) {
    bodies.push_back(json::parse(body));
    return reply_of(200, completion({{"content", "yes"}}));
  };
  const TeacherReply reply = make_chat_teacher(post, {.model = "gpt", .temperature = 0.5})("same?");
  CHECK(reply.outcome == Outcome::answered);
  CHECK(reply.text == "yes");
  CHECK(reply.model == "m-1");
  CHECK(reply.prompt_tokens == std::size_t{12});
  CHECK(reply.answer_tokens == std::size_t{3});
  CHECK(bodies.at(0) == json::parse(R"({"model": "gpt", "messages": [{"role": "user", "content": "same?"}],
                                        "max_tokens": 8, "temperature": 0.5})"));
  make_chat_teacher(post, {.model = "gpt", .form = AnswerForm::json, .max_answer_tokens = 99})("bytes \xff\xfe");
  CHECK(bodies.at(1)["response_format"] == json::parse(R"({"type": "json_object"})"));
  CHECK(bodies.at(1)["max_tokens"] == 99);
}

TEST_CASE("reads replies with status 200") {
  struct Case {
    std::string body;
    Outcome outcome;
    std::string text;
  };
  const std::vector<Case> cases = {
      {completion({{"content", " No.\n"}}), Outcome::answered, " No.\n"},
      {completion({{"content", nullptr}}), Outcome::answered, ""},
      {completion({{"content", nullptr}, {"refusal", "I cannot."}}), Outcome::refused, "I cannot."},
      {completion({{"content", "y"}, {"refusal", ""}}), Outcome::answered, "y"},
      {completion({{"content", ""}}, "content_filter"), Outcome::refused, "content filter"},
      {completion({{"content", 1}}), Outcome::unavailable, "no chat completion"},
      {completion({{"role", "assistant"}}), Outcome::unavailable, "no chat completion"},
      {completion("yes"), Outcome::unavailable, "no chat completion"},
      {"", Outcome::unavailable, "an empty body"},
      {"<html>\n<body>Please log in</body></html>", Outcome::unavailable, "<html> <body>Please log in"},
      {"{\"choices\": [{\"message\": {\"content\": \"ye", Outcome::unavailable, "no chat completion"},
      {"[]", Outcome::unavailable, "[]"},
      {"null", Outcome::unavailable, "null"},
      {"{}", Outcome::unavailable, "{}"},
      {R"({"choices": []})", Outcome::unavailable, "choices"},
      {R"({"choices": {}})", Outcome::unavailable, "choices"},
      {R"({"choices": [1]})", Outcome::unavailable, "choices"},
      {R"({"choices": [{"message": null}]})", Outcome::unavailable, "choices"},
      {R"({"error": {"message": "overloaded"}})", Outcome::unavailable, "overloaded"},
      {"{\"choices\": \"\xff\"}", Outcome::unavailable, "no chat completion"},
      {std::string(500000, '['), Outcome::unavailable, "[[["},
      {std::string("yes\x1b[2J\0", 8), Outcome::unavailable, "yes [2J"},
  };
  for (const Case& each : cases) {
    INFO(each.body.substr(0, 100));
    const TeacherReply reply = ask_once(reply_of(200, each.body));
    INFO(reply.text);
    CHECK(reply.outcome == each.outcome);
    CHECK(reply.text.find(each.text) != std::string::npos);
    if (each.outcome == Outcome::answered) CHECK(reply.text == each.text);
    if (each.outcome != Outcome::answered) CHECK(reply.text.size() <= 210);
  }
}

TEST_CASE("tokens that nobody can believe are left out") {
  for (const char* usage : {"null", "1", "{}", R"({"prompt_tokens": -1, "completion_tokens": "3"})",
                            R"({"prompt_tokens": 1e300, "completion_tokens": 18446744073709551615})"}) {
    const std::string body = R"({"choices": [{"message": {"content": "yes"}}], "usage": )" + std::string(usage) + "}";
    const TeacherReply reply = ask_once(reply_of(200, body));
    CHECK(reply.outcome == Outcome::answered);
    CHECK_FALSE(reply.prompt_tokens.has_value());
    CHECK_FALSE(reply.answer_tokens.has_value());
  }
}

TEST_CASE("what each status means") {
  struct Case {
    int status;
    Outcome outcome;
    std::string text;
  };
  const std::string body = R"({"error": {"message": "the server's own words", "code": "some_code"}})";
  for (const Case& each : std::vector<Case>{{400, Outcome::rejected, "HTTP 400: the server's own words (some_code)"},
                                            {413, Outcome::rejected, "HTTP 413"},
                                            {422, Outcome::rejected, "HTTP 422"},
                                            {401, Outcome::hopeless, "the key is refused: the server's own words"},
                                            {403, Outcome::hopeless, "the key is refused"},
                                            {402, Outcome::hopeless, "no credit"},
                                            {404, Outcome::hopeless, "no such address or model"},
                                            {405, Outcome::hopeless, "no such address or model"},
                                            {301, Outcome::hopeless, "redirected to 'http://other/'"},
                                            {307, Outcome::hopeless, "redirected to 'http://other/'"},
                                            {204, Outcome::unavailable, "HTTP 204"},
                                            {408, Outcome::unavailable, "HTTP 408"},
                                            {429, Outcome::unavailable, "HTTP 429"},
                                            {500, Outcome::unavailable, "HTTP 500: the server's own words"},
                                            {503, Outcome::unavailable, "HTTP 503"},
                                            {529, Outcome::unavailable, "HTTP 529"}}) {
    HttpReply http = reply_of(each.status, body);
    http.location = "http://other/";
    http.retry_after = "12";
    const TeacherReply reply = ask_once(http);
    INFO(each.status << ": " << reply.text);
    CHECK(reply.outcome == each.outcome);
    CHECK(reply.text.find(each.text) != std::string::npos);
    CHECK(reply.retry_after == std::chrono::seconds(each.outcome == Outcome::unavailable ? 12 : 0));
  }
  CHECK(ask_once(reply_of(429, R"({"error": {"message": "pay", "code": "insufficient_quota"}})")).outcome ==
        Outcome::hopeless);
  HttpReply none;
  none.failure = "cannot connect";
  CHECK(ask_once(none).outcome == Outcome::unavailable);
  CHECK(ask_once(none).text == "cannot connect");
  none.hopeless = true;
  CHECK(ask_once(none).outcome == Outcome::hopeless);
}

TEST_CASE("messages of errors, as the usual servers write them") {
  CHECK(pairs::message_of_error(R"({"error": "plain"})") == "plain");
  CHECK(pairs::message_of_error(R"({"message": "top"})") == "top");
  CHECK(pairs::message_of_error(R"({"detail": "of FastAPI"})") == "of FastAPI");
  CHECK(pairs::message_of_error(R"({"error": {"message": "m", "code": 5}})") == "m");
  CHECK(pairs::message_of_error(R"({"other": 1})") == R"({"other":1})");
  CHECK(pairs::message_of_error("not JSON") == "not JSON");
  CHECK(pairs::message_of_error("").empty());
  CHECK(pairs::one_line(" a\n\tb\x1b[31m \r\n", 20) == "a b [31m");
  CHECK(pairs::one_line(std::string(300, 'x'), 10) == std::string(10, 'x') + "...");
}

TEST_CASE("Retry-After in seconds and as a date") {
  using std::chrono::milliseconds;
  constexpr std::time_t now = 784111770;  // Sun, 06 Nov 1994 08:49:30 GMT
  CHECK(pairs::retry_after("0", now) == milliseconds(0));
  CHECK(pairs::retry_after("2", now) == milliseconds(2000));
  CHECK(pairs::retry_after("1.5", now) == milliseconds(1500));
  CHECK(pairs::retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now) == milliseconds(7000));
  CHECK(pairs::retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now) == milliseconds(0));
  for (const char* other : {"", "soon", "-3", "nan", "2 s"}) CHECK(pairs::retry_after(other, now) == milliseconds(0));
  CHECK(pairs::retry_after("1e308", now) == milliseconds(10'000'000'000));
}

TEST_CASE("asks in a plainer way when a field is refused, with one warning each") {
  std::vector<json> bodies;
  std::vector<std::string> warnings;
  const HttpPost post = [&](const std::string& text) {
    const json body = json::parse(text);
    bodies.push_back(body);
    if (body.contains("response_format")) return reply_of(400, R"({"error": "no grammar here"})");
    if (body.contains("max_tokens")) {
      return reply_of(400, R"({"error": {"message": "Unsupported parameter: 'max_tokens'"}})");
    }
    if (body.contains("temperature")) return reply_of(400, R"({"error": {"message": "'temperature' must be 1"}})");
    return reply_of(200, completion({{"content", "{\"same\": true}"}}));
  };
  const Teacher teacher = make_chat_teacher(post, {.model = "o", .form = AnswerForm::json, .secret = "sk-12"},
                                            [&](LogLevel level, std::string_view text) {
                                              CHECK(level == LogLevel::warning);
                                              warnings.emplace_back(text);
                                            });
  for (int i = 0; i < 3; ++i) CHECK(teacher("q").outcome == Outcome::again);
  CHECK(teacher("q").outcome == Outcome::answered);
  CHECK(teacher("q").outcome == Outcome::answered);
  CHECK(bodies.size() == 5);
  CHECK(bodies.back()["max_completion_tokens"] == 32);
  REQUIRE(warnings.size() == 3);
  CHECK(warnings[0].find("response_format") != std::string::npos);
  CHECK(warnings[0].find("no grammar here") != std::string::npos);
  CHECK(warnings[1].find("max_completion_tokens") != std::string::npos);
  CHECK(warnings[2].find("vary") != std::string::npos);
}

TEST_CASE("JSON mode that has worked is not blamed for a question that is refused") {
  int calls = 0;
  const HttpPost post = [&](const std::string&) {
    return ++calls == 1 ? reply_of(200, completion({{"content", "{}"}})) : reply_of(400, R"({"error": "too long"})");
  };
  const Teacher teacher = make_chat_teacher(post, {.model = "o", .form = AnswerForm::json});
  CHECK(teacher("q").outcome == Outcome::answered);
  CHECK(teacher("q").outcome == Outcome::rejected);
}

TEST_CASE("a secret comes out of nothing that comes back") {
  const std::string secret = "sk-0123456789abcdef";
  const std::string filler(190, 'x');  // so that the cut for one line falls into the secret
  std::vector<HttpReply> replies = {
      reply_of(401, R"({"error": {"message": "bad key )" + secret + R"("}})"),
      reply_of(500, filler + secret + secret),
      reply_of(400, R"({"error": ")" + filler + secret + R"("})"),
      reply_of(400, R"({"strange": "sk-012\u0033456789abcdef"})"),
      reply_of(200, filler + secret),
      reply_of(200, completion({{"content", "your key is " + secret}})),
      reply_of(200, completion({{"content", nullptr}, {"refusal", secret}})),
      reply_of(200, R"({"model": ")" + secret + R"(", "choices": [{"message": {"content": "yes"}}]})"),
  };
  replies.push_back(reply_of(302, ""));
  replies.back().location = "http://h/?key=" + secret;
  replies.emplace_back();
  replies.back().failure = "failed with " + secret;
  for (const HttpReply& http : replies) {
    std::string logged;
    const Teacher teacher = make_chat_teacher([&](const std::string&) { return http; },
                                              {.model = "m", .form = AnswerForm::json, .secret = secret},
                                              [&](LogLevel, std::string_view text) { logged += text; });
    const TeacherReply reply = teacher("q");
    const std::string all = reply.text + reply.model + logged;
    INFO(http.status << " " << http.body << " -> " << all);
    for (std::size_t size : {std::size_t{8}, secret.size()})
      CHECK(all.find(secret.substr(0, size)) == std::string::npos);
  }
}
