#include "eval/extras_file.hpp"
#include "promptcache/eval/calibrate.hpp"

namespace promptcache {

void write_calibration(const std::string& model_directory, const CalibrationRecord& record) {
  change_extras(model_directory, [&](nlohmann::ordered_json& json) {
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
  });
}

}  // namespace promptcache
