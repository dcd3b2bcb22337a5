#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache {

using Json = nlohmann::json;

/// Deepest nesting that a file of a model has; the JSON library copies and prints recursively.
inline constexpr int deepest_json = 64;

/// How deeply brackets are nested outside strings. Read off before parsing, since a parser that watches takes twice the
/// time on a vocabulary.
inline int nesting_of(std::string_view text) {
  int depth = 0, deepest = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        while (++i < text.size() && text[i] != '"') i += text[i] == '\\' ? 1 : 0;
        break;
      case '{':
      case '[': deepest = std::max(deepest, ++depth); break;
      case '}':
      case ']': --depth; break;
      default: break;
    }
  }
  return deepest;
}

/// Parses a file's text. Throws `Error(format)` naming the path for what is no JSON or nested too deeply.
inline Json parse_json(const std::string& path, std::string_view text) {
  if (nesting_of(text) > deepest_json) {
    throw Error(ErrorCode::format, {path}, "JSON nested deeper than " + std::to_string(deepest_json), "a flatter file");
  }
  Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded()) throw Error(ErrorCode::format, {path}, "no JSON", "JSON");
  return json;
}

/// The value under `key`, or null.
inline const Json& json_at(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : null;
}

/// One JSON object of the directory, with typed access whose errors name file and key.
class JsonFile {
 public:
  explicit JsonFile(std::string path) : path_(std::move(path)), json_(parse_json(path_, read_file(path_))) {
    if (!json_.is_object()) throw Error(ErrorCode::format, {path_}, "no JSON object", "a JSON object");
  }

  const std::string& path() const { return path_; }
  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  const Json& json() const { return json_; }

  std::size_t size(const char* key) const {
    if (!has(key) || !json_[key].is_number_unsigned() || json_[key].get<std::uint64_t>() > (1U << 30)) {
      throw Error(ErrorCode::format, {path_}, found(key), "a whole number under '" + std::string(key) + "'");
    }
    return json_[key].get<std::size_t>();
  }
  std::size_t size_or(const char* key, std::size_t otherwise) const { return has(key) ? size(key) : otherwise; }

  double number_or(const char* key, double otherwise) const {
    if (!has(key)) return otherwise;
    if (!json_[key].is_number()) {
      throw Error(ErrorCode::format, {path_}, found(key), "a number under '" + std::string(key) + "'");
    }
    return json_[key].get<double>();
  }
  std::string text_or(const char* key, const std::string& otherwise) const {
    if (!has(key)) return otherwise;
    if (!json_[key].is_string()) {
      throw Error(ErrorCode::format, {path_}, found(key), "a text under '" + std::string(key) + "'");
    }
    return json_[key].get<std::string>();
  }
  bool flag_or(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!json_[key].is_boolean()) {
      throw Error(ErrorCode::format, {path_}, found(key), "true or false under '" + std::string(key) + "'");
    }
    return json_[key].get<bool>();
  }

 private:
  std::string found(const char* key) const {
    return json_.contains(key) ? "'" + std::string(key) + "': " + json_[key].dump().substr(0, 80)
                               : "no '" + std::string(key) + "'";
  }

  std::string path_;
  Json json_;
};

}  // namespace promptcache
