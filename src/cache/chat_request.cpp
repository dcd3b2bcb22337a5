#include "promptcache/cache/chat_request.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::json;  // keeps the keys of an object in order

constexpr int deepest = 64;

[[noreturn]] void refuse(ErrorCode code, const std::string& place, const std::string& found,
                         const std::string& wanted) {
  throw Error(code, {place}, found, wanted);
}

/// Refuses a key twice in one object: which of the two counts differs from reader to reader, so that one request could
/// be keyed by one value and answered by the other.
Json parse_strictly(std::string_view text) {
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > deepest) refuse(ErrorCode::format, "chat request", "JSON nested deeper than 64", "a flatter request");
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key && !open_objects.back().insert(parsed.get<std::string>()).second) {
      refuse(ErrorCode::format, "chat request", "the key '" + parsed.get<std::string>() + "' twice in one object",
             "each key once");
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, false);
  if (!json.is_object()) refuse(ErrorCode::format, "chat request", "no JSON object", "a chat completion request");
  return json;
}

/// 1 and 1.0 are the same number.
void unify_numbers(Json& json) {
  constexpr double exact = 9007199254740992.0;  // whole numbers up to here are exact in a double
  if (json.is_number_float()) {
    const double value = json.get<double>();
    if (std::abs(value) <= exact && std::trunc(value) == value) json = static_cast<std::int64_t>(value);
  } else if (json.is_structured()) {
    for (Json& part : json) unify_numbers(part);
  }
}

/// Moves the named fields out of a request into an object of their own, printed; empty when there are none.
template <std::size_t Count>
std::string take(Json& request, const std::array<const char*, Count>& names) {
  Json taken = Json::object();
  for (const char* name : names) {
    const auto found = request.find(name);
    if (found == request.end()) continue;
    taken[name] = std::move(*found);
    request.erase(found);
  }
  return taken.empty() ? "" : taken.dump();
}

bool has_role(const Json& message, const char* role) { return message["role"] == role; }

/// The text of a user's message; what else the message holds goes into the scope.
std::string prompt_of(Json message, Scope& scope) {
  constexpr const char* place = "chat request, last message";
  if (!has_role(message, "user")) {
    refuse(ErrorCode::unsupported, place, "role '" + message["role"].get<std::string>() + "'", "role 'user'");
  }
  const Json content = message.contains("content") ? message["content"] : Json();
  message.erase("content");
  message.erase("role");
  if (!message.empty()) scope.field("chat.message", message.dump());
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array() || content.empty()) refuse(ErrorCode::format, place, "no content", "a text");
  std::string prompt;
  std::string lengths;
  for (const Json& part : content) {
    if (!part.is_object() || part.size() != 2 || part.value("type", Json()) != "text" ||
        !part.value("text", Json()).is_string()) {
      refuse(ErrorCode::unsupported, place, "a part that is not just text", "text");
    }
    const auto text = part["text"].get<std::string>();
    if (!lengths.empty()) prompt += "\n";
    prompt += text;
    lengths += std::to_string(text.size()) + " ";
  }
  if (content.size() > 1) scope.field("chat.parts", lengths);
  return prompt;
}

}  // namespace

Scope Scope::from_chat_request(std::string_view json) { return ChatRequest::parse(json).scope; }

ChatRequest ChatRequest::parse(std::string_view json) {
  static constexpr std::array tools = {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"};
  static constexpr std::array sampling = {"temperature",
                                          "top_p",
                                          "top_k",
                                          "min_p",
                                          "seed",
                                          "n",
                                          "max_tokens",
                                          "max_completion_tokens",
                                          "stop",
                                          "presence_penalty",
                                          "frequency_penalty",
                                          "repetition_penalty",
                                          "logit_bias",
                                          "logprobs",
                                          "top_logprobs",
                                          "reasoning_effort",
                                          "verbosity"};
  static constexpr std::array format = {"response_format"};
  static constexpr std::array without_influence = {
      "stream", "stream_options", "user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier"};

  Json request = parse_strictly(json);
  unify_numbers(request);
  for (auto field = request.begin(); field != request.end();) {
    field = field->is_null() ? request.erase(field) : std::next(field);
  }
  take(request, without_influence);

  ChatRequest result;
  if (!request.contains("model") || !request["model"].is_string()) {
    refuse(ErrorCode::format, "chat request", "no model", "the name of a model");
  }
  result.scope.model(request["model"].get<std::string>());
  request.erase("model");

  const Json messages = request.contains("messages") ? request["messages"] : Json();
  request.erase("messages");
  if (!messages.is_array() || messages.empty()) refuse(ErrorCode::format, "chat request", "no messages", "a list");
  for (const Json& message : messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      refuse(ErrorCode::format, "chat request", "a message without a role", "role and content");
    }
  }
  std::size_t history_from = 0;
  const Json& first = messages.front();
  if (has_role(first, "system") && first.size() == 2 && first.contains("content") && first["content"].is_string()) {
    result.scope.system(first["content"].get<std::string>());
    history_from = 1;
  }
  if (history_from + 1 < messages.size()) {
    Sha256 history;
    for (std::size_t i = history_from; i + 1 < messages.size(); ++i) history.field("message", messages[i].dump());
    result.scope.history(history.finish());
  }
  result.prompt = prompt_of(messages.back(), result.scope);

  if (const std::string text = take(request, tools); !text.empty()) result.scope.tools(text);
  if (const std::string text = take(request, sampling); !text.empty()) result.scope.sampling(text);
  if (const std::string text = take(request, format); !text.empty()) result.scope.response_format(text);
  for (const auto& [name, value] : request.items()) result.scope.field("chat." + name, value.dump());
  return result;
}

}  // namespace promptcache
