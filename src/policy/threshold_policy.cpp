#include "promptcache/policy/threshold_policy.hpp"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"

namespace promptcache {

ThresholdPolicy::ThresholdPolicy(double tau) : tau_(tau) {
  if (std::isnan(tau)) throw Error(ErrorCode::numeric, {"tau"}, "nan", "a number in [-1, 1]");
  if (tau < -1 || tau > 1) throw Error(ErrorCode::usage, {"tau"}, std::to_string(tau), "a number in [-1, 1]");
}

Decision ThresholdPolicy::decide(const Evidence& evidence) const {
  Decision decision;
  decision.similarity = evidence.similarity;
  decision.threshold = tau_;
  decision.serve = evidence.similarity > tau_;
  decision.reason = decision.serve ? Reason::similar : Reason::not_similar;
  return decision;
}

std::string ThresholdPolicy::describe() const {
  char text[64];
  std::snprintf(text, sizeof(text), "threshold: similarity > %.6g", tau_);
  return text;
}

std::string ThresholdPolicy::parameters() const {
  return nlohmann::ordered_json{{"kind", "threshold"}, {"tau", tau_}}.dump();
}

}  // namespace promptcache
