#include "promptcache/policy/evidence_model.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"

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

}  // namespace promptcache
