#include <limits>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"
#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/cascade_policy.hpp"
#include "promptcache/policy/threshold_policy.hpp"

namespace promptcache {

std::shared_ptr<CachePolicy> make_policy(std::string_view parameters) {
  const auto refuse = [](ErrorCode code, const std::string& found) {
    return Error(code, {"parameters of a policy"}, found, "what CachePolicy::parameters() gives");
  };
  const auto json = nlohmann::json::parse(parameters.begin(), parameters.end(), nullptr, false);
  const auto number = [&](const char* key) {
    if (!json.contains(key) || !json[key].is_number()) {
      throw refuse(ErrorCode::format, "no number '" + std::string(key) + "'");
    }
    return json[key].get<double>();
  };
  if (!json.is_object() || !json.contains("kind") || !json["kind"].is_string()) {
    throw refuse(ErrorCode::format, "no JSON object with a kind");
  }
  const auto kind = json["kind"].get<std::string>();
  if (kind == "threshold") return std::make_shared<ThresholdPolicy>(number("tau"));
  if (kind == "calibrated") {
    const bool never = json.contains("threshold") && json["threshold"].is_null();
    return CalibratedPolicy::with_threshold({number("lambda"), number("c")},
                                            never ? std::numeric_limits<double>::infinity() : number("threshold"),
                                            json.contains("bound") ? std::optional(number("bound")) : std::nullopt);
  }
  if (kind == "cascade") {
    const auto stage = [&](const char* name) {
      CascadeStage made;
      if (!json.contains(name) || !json[name].is_object())
        throw refuse(ErrorCode::format, "no '" + std::string(name) + "'");
      const nlohmann::json& given = json[name];
      if (given.value("threshold", nlohmann::json()).is_number()) made.threshold = given["threshold"].get<double>();
      if (given.value("bound", nlohmann::json()).is_number()) made.bound = given["bound"].get<double>();
      return made;
    };
    const std::string model = json.value("model", nlohmann::json()).dump();
    const CascadeStage first = stage("first"), second = stage("second");
    return std::make_shared<CascadePolicy>(make_evidence_model(model, "parameters of a policy"), first, second);
  }
  throw refuse(ErrorCode::unsupported, "kind '" + kind + "'");
}

}  // namespace promptcache
