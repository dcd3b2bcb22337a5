#include "promptcache/store/json_lines.hpp"

#include <cmath>
#include <cstring>
#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/base64.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::ordered_json;

/// A text under its name, or in base64 under another when its bytes are not UTF-8.
void put_text(Json& json, const std::string& name, const std::string& text) {
  try {
    static_cast<void>(Json(text).dump());
    json[name] = text;
  } catch (const nlohmann::json::exception&) {
    json[name + "_base64"] = to_base64(text);
  }
}

std::int64_t microseconds(Entry::TimePoint time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

std::string line_of(const Entry& entry) {
  Json json;
  put_text(json, "prompt", entry.prompt);
  put_text(json, "response", entry.response);
  json["key"] = entry.key.hex();
  json["scope"] = entry.scope.hex();
  if (entry.fields) {
    json["fields"] = Json::array();
    for (const auto& [name, value] : *entry.fields) {
      Json field;
      put_text(field, "name", name);
      put_text(field, "value", value);
      json["fields"].push_back(field);
    }
  }
  if (!entry.chunks.empty()) json["chunks"] = entry.chunks;
  json["cost"] = entry.cost;
  json["tags"] = Json::array();
  for (const std::string& tag : entry.tags) {
    Json wrapped;
    put_text(wrapped, "tag", tag);
    json["tags"].push_back(wrapped);
  }
  json["created_us"] = microseconds(entry.created);
  if (entry.lifetime.count() != 0) json["lifetime_ms"] = entry.lifetime.count();
  if (entry.expires != Entry::TimePoint::max()) json["expires_us"] = microseconds(entry.expires);
  json["embedder"] = entry.embedder.hex();
  if (!entry.vector.empty()) {
    json["vector_f32_base64"] =
        to_base64({reinterpret_cast<const char*>(entry.vector.data()), entry.vector.size() * sizeof(float)});
  }
  return json.dump();
}

/// Reads one line; every error names it.
class Line {
 public:
  Line(const std::string& text, const std::string& where, std::size_t number) : where_{where, number} {
    json_ = Json::parse(text, nullptr, false);
    if (!json_.is_object()) throw refuse("no JSON object");
  }

  Entry entry() const {
    Entry result;
    result.prompt = text(json_, "prompt");
    result.response = text(json_, "response");
    result.key = digest("key");
    result.scope = digest("scope");
    result.embedder = digest("embedder");
    if (json_.contains("fields")) {
      Entry::Fields fields;
      for (const Json& field : array("fields")) fields[text(field, "name")] = text(field, "value");
      result.fields = std::make_shared<const Entry::Fields>(std::move(fields));
    }
    for (const Json& tag : array("tags")) result.tags.push_back(text(tag, "tag"));
    if (json_.contains("chunks")) {
      std::size_t sum = 0;
      for (const Json& length : array("chunks")) {
        if (!length.is_number_unsigned()) throw refuse("a chunk of no length");
        result.chunks.push_back(length.get<std::uint32_t>());
        sum += result.chunks.back();
      }
      if (sum != result.response.size()) throw refuse("chunks of another length than the response");
    }
    if (!json_.contains("cost") || !json_["cost"].is_number()) throw refuse("no number 'cost'");
    result.cost = json_["cost"].get<double>();
    result.created = time("created_us");
    if (json_.contains("lifetime_ms")) result.lifetime = std::chrono::milliseconds(integer("lifetime_ms"));
    if (json_.contains("expires_us")) result.expires = time("expires_us");
    if (json_.contains("vector_f32_base64")) {
      const auto bytes = from_base64(string(json_, "vector_f32_base64"));
      if (!bytes || bytes->size() % sizeof(float) != 0) throw refuse("a vector that is no base64 of f32 values");
      result.vector.resize(bytes->size() / sizeof(float));
      std::memcpy(result.vector.data(), bytes->data(), bytes->size());
      for (const float value : result.vector) {
        if (!std::isfinite(value)) throw refuse("NaN or infinity in the vector");
      }
    }
    return result;
  }

 private:
  Error refuse(const std::string& found) const { return {ErrorCode::format, where_, found, "an exported entry"}; }

  std::string string(const Json& json, const std::string& name) const {
    if (!json.is_object() || !json.contains(name) || !json[name].is_string()) throw refuse("no text '" + name + "'");
    return json[name].get<std::string>();
  }
  std::string text(const Json& json, const std::string& name) const {
    if (!json.is_object() || !json.contains(name + "_base64")) return string(json, name);
    const auto bytes = from_base64(string(json, name + "_base64"));
    if (!bytes) throw refuse("'" + name + "_base64' that is no base64");
    return *bytes;
  }
  const Json& array(const std::string& name) const {
    if (!json_.contains(name) || !json_[name].is_array()) throw refuse("no list '" + name + "'");
    return json_[name];
  }
  Digest digest(const std::string& name) const {
    const auto value = Digest::from_hex(string(json_, name));
    if (!value) throw refuse("'" + name + "' that is no digest");
    return *value;
  }
  std::int64_t integer(const std::string& name) const {
    if (!json_.contains(name) || !json_[name].is_number_integer()) throw refuse("no whole number '" + name + "'");
    return json_[name].get<std::int64_t>();
  }
  Entry::TimePoint time(const std::string& name) const {
    constexpr std::int64_t most = 9'000'000'000'000'000;  // the year 2255
    const std::int64_t value = integer(name);
    if (value < -most || value > most) throw refuse("'" + name + "' out of range");
    return Entry::TimePoint(std::chrono::microseconds(value));
  }

  Where where_;
  Json json_;
};

}  // namespace

std::size_t export_entries(const EntryStore& store, std::ostream& out, const std::string& where) {
  std::size_t count = 0;
  store.for_each_with_vector([&](const EntryStore::EntryPointer& entry) {
    out << line_of(*entry) << "\n";
    ++count;
  });
  out.flush();
  if (!out) throw Error(ErrorCode::io, {where}, "a failed write", "room for " + std::to_string(count) + " entries");
  return count;
}

std::size_t import_entries(EntryStore& store, std::istream& in, const std::string& where) {
  std::size_t count = 0;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    store.put(Line(line, where, number).entry());
    ++count;
  }
  if (in.bad()) throw Error(ErrorCode::io, {where}, "a failed read", "exported entries");
  return count;
}

}  // namespace promptcache
