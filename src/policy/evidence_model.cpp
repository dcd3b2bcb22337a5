#include "promptcache/policy/evidence_model.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"
#include "promptcache/policy/logistic_evidence.hpp"

namespace promptcache {

PlattEvidence::PlattEvidence(const Calibration& calibration) : calibration_(calibration) {
  if (!(calibration.lambda > 0 && std::isfinite(calibration.lambda))) {
    throw Error(ErrorCode::usage, {"lambda"}, std::to_string(calibration.lambda), "a number above 0");
  }
  if (!std::isfinite(calibration.offset)) {
    throw Error(ErrorCode::usage, {"c"}, std::to_string(calibration.offset), "a finite number");
  }
}

double PlattEvidence::probability(const Evidence& evidence) const {
  return calibration_.probability(evidence.similarity);
}

std::string PlattEvidence::parameters() const {
  return nlohmann::ordered_json{{"kind", "platt"}, {"lambda", calibration_.lambda}, {"c", calibration_.offset}}.dump();
}

std::shared_ptr<const EvidenceModel> make_evidence_model(std::string_view parameters, const std::string& where) {
  const auto refuse = [&](ErrorCode code, const std::string& found) {
    return Error(code, {where}, found, "what EvidenceModel::parameters() gives");
  };
  try {
    const auto json = nlohmann::json::parse(parameters.begin(), parameters.end());
    const auto kind = json.at("kind").get<std::string>();
    if (kind == "platt") {
      return std::make_shared<PlattEvidence>(Calibration{json.at("lambda").get<double>(), json.at("c").get<double>()});
    }
    if (kind == "logistic") return std::make_shared<LogisticEvidence>(LogisticEvidence::parse(parameters, where));
    throw refuse(ErrorCode::unsupported, "kind '" + kind + "'");
  } catch (const nlohmann::json::exception& error) {
    throw refuse(ErrorCode::format, error.what());
  }
}

}  // namespace promptcache
