#include "promptcache/cache/chat_request.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "support.hpp"

using namespace promptcache;

namespace {

const char* const plain = R"({"model": "m", "messages": [{"role": "system", "content": "Be brief."},
  {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Why?"}],
  "temperature": 0.7, "max_tokens": 100, "tools": [{"type": "function", "function": {"name": "f", "strict": true}}],
  "response_format": {"type": "json_object"}, "seed": 7, "some_new_field": {"a": 1, "b": [2, 3]}})";

Digest key(const std::string& json) {
  const ChatRequest request = ChatRequest::parse(json);
  return request_key(request.scope.digest(), request.prompt, {});
}

/// The same JSON with the keys of every object in random order and random white space.
std::string shuffled(const nlohmann::json& json, std::mt19937& random) {
  const auto space = [&] { return std::string(random() % 3, " \n\t"[random() % 3]); };
  if (!json.is_structured()) return json.dump();
  std::vector<std::string> parts;
  if (json.is_array()) {
    for (const auto& part : json) parts.push_back(shuffled(part, random));
  } else {
    for (const auto& [name, value] : json.items()) {
      parts.push_back(nlohmann::json(name).dump() + space() + ":" + space() + shuffled(value, random));
    }
    std::shuffle(parts.begin(), parts.end(), random);
  }
  std::string text(1, json.is_array() ? '[' : '{');
  for (std::size_t i = 0; i < parts.size(); ++i) text += (i == 0 ? "" : ",") + space() + parts[i] + space();
  return text + (json.is_array() ? ']' : '}');
}

}  // namespace

TEST_CASE("a chat request is a prompt in a scope") {
  const ChatRequest request = ChatRequest::parse(plain);
  CHECK(request.prompt == "Why?");
  const auto& fields = request.scope.fields();
  CHECK(fields.at("tmodel") == "m");
  CHECK(fields.at("tsystem") == "Be brief.");
  CHECK(fields.at("tsampling") == R"({"max_tokens":100,"seed":7,"temperature":0.7})");
  CHECK(fields.at("tresponse_format") == R"({"response_format":{"type":"json_object"}})");
  CHECK(fields.at("fchat.some_new_field") == R"({"a":1,"b":[2,3]})");
  CHECK(fields.contains("ttools"));
  CHECK(fields.contains("thistory"));
  CHECK(Scope::from_chat_request(plain).digest() == request.scope.digest());
  CHECK(ChatRequest::parse(R"({"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]})")
            .prompt == "a");
}

TEST_CASE("order of keys, white space and the spelling of numbers do not change the key of a chat request") {
  std::mt19937 random(1);
  const Digest wanted = key(plain);
  for (int i = 0; i < 1000; ++i) REQUIRE(key(shuffled(nlohmann::json::parse(plain), random)) == wanted);
  nlohmann::json json = nlohmann::json::parse(plain);
  json["max_tokens"] = 100.0;
  json["stream"] = true;
  json["user"] = "somebody";
  json["stop"] = nullptr;
  CHECK(key(json.dump()) == wanted);
}

TEST_CASE("any other change of a chat request changes its key") {
  const nlohmann::json base = nlohmann::json::parse(plain);
  std::set<Digest> seen = {key(plain)};
  const auto check = [&](const nlohmann::json& json) {
    INFO(json.dump());
    CHECK(seen.insert(key(json.dump())).second);
  };
  // Every leaf changed in turn, and every key and list element removed.
  const nlohmann::json flat = base.flatten();
  for (const auto& [path, value] : flat.items()) {
    if (path.ends_with("/role")) continue;
    nlohmann::json changed = base;
    nlohmann::json& leaf = changed[nlohmann::json::json_pointer(path)];
    leaf = value.is_string()    ? nlohmann::json(value.get<std::string>() + "x")
           : value.is_boolean() ? nlohmann::json(!value.get<bool>())
                                : nlohmann::json(value.get<double>() + 1);
    check(changed);
  }
  for (const char* name : {"temperature", "max_tokens", "tools", "response_format", "seed", "some_new_field"}) {
    nlohmann::json changed = base;
    changed.erase(name);
    check(changed);
  }
  nlohmann::json changed = base;
  changed["messages"].erase(1);
  check(changed);
  changed["messages"].erase(1);
  check(changed);
  changed["messages"].erase(0);
  check(changed);
  changed["messages"][0]["name"] = "Ann";
  check(changed);
  changed = base;
  changed["messages"][0]["role"] = "developer";
  check(changed);
  changed["messages"][0]["role"] = "user";
  check(changed);
  changed = base;
  changed["messages"][3]["content"] = {{{"type", "text"}, {"text", "Wh"}}, {{"type", "text"}, {"text", "y?"}}};
  check(changed);
  changed["messages"][3]["content"] = "Wh\ny?";
  check(changed);
}

TEST_CASE("what is no chat request, or means more than one thing, is refused") {
  const auto refuse = [](ErrorCode code, const char* piece, const char* json) {
    INFO(json);
    test::require_error(code, {piece}, [&] { ChatRequest::parse(json); });
  };
  refuse(ErrorCode::format, "JSON", "");
  refuse(ErrorCode::format, "JSON", "[]");
  refuse(ErrorCode::format, "JSON", "{\"model\": \"\xff\"}");
  refuse(ErrorCode::format, "no model", R"({"messages": [{"role": "user", "content": "a"}]})");
  refuse(ErrorCode::format, "no messages", R"({"model": "m"})");
  refuse(ErrorCode::format, "no messages", R"({"model": "m", "messages": []})");
  refuse(ErrorCode::format, "role", R"({"model": "m", "messages": ["a"]})");
  refuse(ErrorCode::format, "'model' twice", R"({"model": "m", "model": "n", "messages": []})");
  refuse(ErrorCode::format, "'content' twice", R"({"messages": [{"content": "a", "content": "b"}]})");
  refuse(ErrorCode::format, "no content", R"({"model": "m", "messages": [{"role": "user"}]})");
  refuse(ErrorCode::unsupported, "assistant", R"({"model": "m", "messages": [{"role": "assistant", "content": "a"}]})");
  refuse(ErrorCode::unsupported, "not just text",
         R"({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]})");
  refuse(ErrorCode::format, "nested", (std::string(100, '[') + std::string(100, ']')).c_str());
}
