#include "pairs/http_reply.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

namespace promptcache::pairs {
namespace {

using Json = nlohmann::json;
using Outcome = TeacherReply::Outcome;

/// The text under a key of an object, or nothing.
std::optional<std::string> text_at(const Json& object, const char* key) {
  if (!object.is_object()) return std::nullopt;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::optional<std::size_t> count_at(const Json& object, const char* key) {
  constexpr std::uint64_t believable = 100'000'000;
  if (!object.is_object()) return std::nullopt;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned() || found->get<std::uint64_t>() > believable) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(found->get<std::uint64_t>());
}

TeacherReply unusable(const std::string& body) {
  return {.outcome = Outcome::unavailable,
          .text = body.empty() ? "an empty body, no chat completion" : "no chat completion: " + body};
}

}  // namespace

std::string one_line(std::string_view text, std::size_t longest) {
  std::string line;
  bool space = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7f) {
      space = !line.empty();
      continue;
    }
    if (line.size() + (space ? 2 : 1) > longest) return line + "...";
    if (space) line += ' ';
    space = false;
    line += c;
  }
  return line;
}

std::string without_secret(std::string text, std::string_view secret) {
  if (secret.empty()) return text;
  for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3)) {
    text.replace(at, secret.size(), "***");
  }
  return text;
}

std::string message_of_error(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded()) return body;
  if (json.is_object()) {
    if (const auto error = json.find("error"); error != json.end()) {
      if (const auto message = text_at(*error, "message")) {
        const auto code = text_at(*error, "code");
        return code && message->find(*code) == std::string::npos ? *message + " (" + *code + ")" : *message;
      }
      if (error->is_string()) return error->get<std::string>();
    }
    for (const char* key : {"message", "detail"}) {
      if (const auto message = text_at(json, key)) return *message;
    }
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

TeacherReply read_chat_completion(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return unusable(body);
  const auto choices = json.find("choices");
  if (choices == json.end() || !choices->is_array() || choices->empty() || !choices->front().is_object()) {
    if (json.contains("error")) return {.outcome = Outcome::unavailable, .text = message_of_error(body)};
    return unusable(body);
  }
  const Json& choice = choices->front();
  const auto message = choice.find("message");
  if (message == choice.end() || !message->is_object()) return unusable(body);

  TeacherReply reply;
  reply.model = text_at(json, "model").value_or("");
  if (const auto usage = json.find("usage"); usage != json.end()) {
    reply.prompt_tokens = count_at(*usage, "prompt_tokens");
    reply.answer_tokens = count_at(*usage, "completion_tokens");
  }
  if (const auto refusal = text_at(*message, "refusal"); refusal && !refusal->empty()) {
    reply.outcome = Outcome::refused;
    reply.text = *refusal;
  } else if (text_at(choice, "finish_reason") == "content_filter") {
    reply.outcome = Outcome::refused;
    reply.text = "stopped by the endpoint's content filter";
  } else if (const auto content = text_at(*message, "content")) {
    reply.text = *content;
  } else if (const auto none = message->find("content"); none != message->end() && none->is_null()) {
    reply.text.clear();  // an answer of no words, as when all room went into thoughts
  } else {
    return unusable(body);
  }
  return reply;
}

TeacherReply read_http_error(const HttpReply& reply, const std::string& problem) {
  const int status = reply.status;
  TeacherReply result;
  result.text = "HTTP " + std::to_string(status);
  if (status >= 300 && status < 400) {
    result.outcome = Outcome::hopeless;
    result.text += ", redirected to '" + reply.location + "', which is not followed: name the final address";
    return result;
  }
  const bool no_credit = problem.find("insufficient_quota") != std::string::npos;
  if (status == 401 || status == 403) {
    result.text += ", the key is refused";
    result.outcome = Outcome::hopeless;
  } else if (status == 402 || no_credit) {
    result.text += ", no credit is left";
    result.outcome = Outcome::hopeless;
  } else if (status == 404 || status == 405) {
    result.text += ", no such address or model";
    result.outcome = Outcome::hopeless;
  } else if (status == 408 || status == 409 || status == 425 || status == 429 || status >= 500 || status < 300) {
    result.outcome = Outcome::unavailable;
    result.retry_after = retry_after(reply.retry_after, std::time(nullptr));
  } else {
    result.outcome = Outcome::rejected;
  }
  if (!problem.empty()) result.text += ": " + problem;
  return result;
}

std::chrono::milliseconds retry_after(std::string_view value, std::time_t now) {
  constexpr double longest = 1e7;  // seconds; whatever is longer ends a run all the same
  double seconds = 0;
  const auto [end, status] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (value.empty() || status != std::errc() || end != value.data() + value.size()) {
    std::tm date{};
    const char* rest = ::strptime(std::string(value).c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
    if (rest == nullptr) return std::chrono::milliseconds(0);
    seconds = std::difftime(::timegm(&date), now);
  }
  if (!(seconds > 0)) return std::chrono::milliseconds(0);
  return std::chrono::milliseconds(static_cast<std::int64_t>(1000 * std::min(seconds, longest)));
}

}  // namespace promptcache::pairs
