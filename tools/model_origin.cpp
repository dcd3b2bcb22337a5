#include "model_origin.hpp"

#include <algorithm>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "promptcache/model/safetensors.hpp"

namespace tool {
namespace {

using Json = nlohmann::json;

/// The file as an object; empty when there is none. Whether it is sound has been checked when the model was opened.
Json extras_of(const std::string& directory) {
  const std::string path = directory + "/promptcache.json";
  if (!std::filesystem::is_regular_file(path)) return Json::object();
  Json json = Json::parse(promptcache::read_file(path), nullptr, false);
  return json.is_object() ? json : Json::object();
}

Json at(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) ? object[key] : Json();
}

double positive_number(const Json& value) {
  const double number = value.is_number() ? value.get<double>() : 0;
  return number > 0 ? number : 0;
}

}  // namespace

std::optional<ModelOrigin> read_origin(const std::string& model_directory) {
  const Json json = extras_of(model_directory);
  const Json trained = at(json, "training_head");
  const Json& head = trained.is_object() ? trained : json;
  ModelOrigin origin;
  origin.loss = at(json, "loss").is_string() ? at(json, "loss").get<std::string>() : "";
  origin.training_pairs = positive_number(at(at(json, "pairs"), "train"));
  origin.training_head.lambda = positive_number(at(head, "lambda"));
  const Json offset = at(head, "c");
  if (origin.training_pairs == 0 || origin.training_head.lambda == 0 || !offset.is_number()) return std::nullopt;
  origin.training_head.offset = offset.get<double>();
  const auto weights = promptcache::SafetensorsFile::open(model_directory + "/model.safetensors");
  for (const auto& [name, tensor] : weights.tensors()) {
    double elements = 1;
    for (const std::size_t size : tensor.shape) elements *= static_cast<double>(size);
    origin.parameters += elements;
  }
  return origin;
}

std::vector<std::string> sources_with_digest(const std::string& model_directory, const std::string& sha256) {
  std::vector<std::string> names;
  const Json sources = at(extras_of(model_directory), "sha256");
  if (!sources.is_object()) return names;
  for (const auto& [name, digest] : sources.items()) {
    const bool among = digest.is_array() && std::find(digest.begin(), digest.end(), sha256) != digest.end();
    if (digest == sha256 || among) names.push_back(name);
  }
  return names;
}

}  // namespace tool
