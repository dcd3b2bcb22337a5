#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "model/json_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache {

/// Changes fields of DIRECTORY/promptcache.json and keeps the others and their order; makes the file when there is
/// none.
template <class Change>
void change_extras(const std::string& model_directory, const Change& change) {
  const std::string path = model_directory + "/promptcache.json";
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (std::filesystem::exists(path)) {
    const std::string text = read_file(path);
    if (!parse_json(path, text).is_object()) throw Error(ErrorCode::format, {path}, "no JSON object", "a JSON object");
    json = nlohmann::ordered_json::parse(text);  // once more, to keep the order of the fields
  }
  change(json);
  write_file_atomically(path, json.dump(2) + "\n");
}

}  // namespace promptcache
