#include <filesystem>
#include <nlohmann/json.hpp>

#include "model/json_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/calibrate.hpp"

namespace promptcache {

void write_calibration(const std::string& model_directory, const CalibrationRecord& record) {
  const std::string path = model_directory + "/promptcache.json";
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (std::filesystem::exists(path)) {
    const std::string text = read_file(path);
    if (!parse_json(path, text).is_object()) throw Error(ErrorCode::format, {path}, "no JSON object", "a JSON object");
    json = nlohmann::ordered_json::parse(text);  // once more, to keep the order of the fields
  }
  json["lambda"] = record.head.lambda;
  json["c"] = record.head.offset;
  json.erase("threshold");
  nlohmann::ordered_json about = {{"sha256", record.file_sha256},
                                  {"precision", record.precision},
                                  {"embedder", record.embedder},
                                  {"pairs", record.pairs},
                                  {"clusters", record.clusters},
                                  {"fit_pairs", record.fit_pairs},
                                  {"threshold_pairs", record.threshold_pairs},
                                  {"deployed", record.deployed},
                                  {"target_wrong_hits", record.options.target},
                                  {"confidence", record.options.confidence},
                                  {"upper_bound", nullptr},
                                  {"hits", nullptr},
                                  {"wrong", nullptr}};
  if (record.threshold) {
    json["threshold"] = record.threshold->threshold;
    about["upper_bound"] = record.threshold->upper_bound;
    about["hits"] = record.threshold->hits;
    about["wrong"] = record.threshold->wrong;
  }
  json["calibration"] = std::move(about);
  write_file_atomically(path, json.dump(2) + "\n");
}

}  // namespace promptcache
