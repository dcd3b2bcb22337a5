#include "promptcache/policy/calibrated_policy.hpp"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/eval/classification.hpp"
#include "promptcache/model/model_directory.hpp"

namespace promptcache {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

void require(bool good, const char* place, const std::string& found, const char* wanted) {
  if (!good) throw Error(ErrorCode::usage, {place}, found, wanted);
}

void check(const Calibration& calibration, const CalibratedPolicyOptions& options) {
  require(calibration.lambda > 0 && std::isfinite(calibration.lambda), "lambda", std::to_string(calibration.lambda),
          "a number above 0");
  require(std::isfinite(calibration.offset), "c", std::to_string(calibration.offset), "a finite number");
  least_probability(options);
}

/// The lowest threshold on the pairs' own curve whose hits are good enough.
double threshold_on_pairs(std::span<const double> similarities, std::span<const double> labels, double target) {
  std::vector<std::uint8_t> positive;
  for (const double label : labels) positive.push_back(label >= 0.5 ? 1 : 0);
  double threshold = never;
  for (const CurvePoint& point : precision_recall_curve(similarities, positive)) {
    if (1 - point.precision <= target) threshold = point.threshold;  // the curve goes from high to low
  }
  return threshold;
}

}  // namespace

double least_probability(const CalibratedPolicyOptions& options) {
  require(options.target_wrong_hits.has_value() != options.wrong_hit_cost.has_value(), "CalibratedPolicyOptions",
          options.target_wrong_hits ? "both target_wrong_hits and wrong_hit_cost" : "neither of its two values",
          "target_wrong_hits or wrong_hit_cost");
  if (options.target_wrong_hits) {
    const double target = *options.target_wrong_hits;
    require(target > 0 && target < 1, "target_wrong_hits", std::to_string(target), "a share between 0 and 1");
    return 1 - target;
  }
  const double cost = *options.wrong_hit_cost;
  require(cost > 0 && std::isfinite(cost), "wrong_hit_cost", std::to_string(cost), "a number above 0");
  return cost / (1 + cost);
}

CalibratedPolicy::CalibratedPolicy(const Calibration& calibration, const CalibratedPolicyOptions& options,
                                   double threshold)
    : calibration_(calibration), options_(options), threshold_(threshold) {}

CalibratedPolicy::CalibratedPolicy(const Calibration& calibration, const CalibratedPolicyOptions& options)
    : calibration_(calibration), options_(options), threshold_(never) {
  check(calibration, options);
  threshold_ = calibration.similarity_at(least_probability(options));
}

std::shared_ptr<CalibratedPolicy> CalibratedPolicy::open(const std::string& model_directory,
                                                         const CalibratedPolicyOptions& options) {
  const ModelDirectory directory = ModelDirectory::open(model_directory);
  const ModelExtras& extras = directory.extras();
  if (!extras.lambda || !extras.offset) {
    throw Error(
        ErrorCode::not_found, {directory.file("promptcache.json")}, "no lambda and c",
        "those of a calibrated model (pc-train and pc-calibrate write them), or CalibratedPolicy::fit with pairs");
  }
  const Calibration calibration{*extras.lambda, *extras.offset};
  if (extras.verified && options.target_wrong_hits &&
      extras.verified->target_wrong_hits <= *options.target_wrong_hits) {
    check(calibration, options);
    const std::shared_ptr<CalibratedPolicy> policy(
        new CalibratedPolicy(calibration, options, extras.verified->threshold));
    policy->bound_ = extras.verified->upper_bound;
    return policy;
  }
  return std::make_shared<CalibratedPolicy>(calibration, options);
}

std::shared_ptr<CalibratedPolicy> CalibratedPolicy::fit(std::span<const double> similarities,
                                                        std::span<const double> labels,
                                                        const CalibratedPolicyOptions& options) {
  const Calibration calibration = fit_platt(similarities, labels);
  check(calibration, options);
  if (!options.target_wrong_hits) return std::make_shared<CalibratedPolicy>(calibration, options);
  const double threshold = threshold_on_pairs(similarities, labels, *options.target_wrong_hits);
  return std::shared_ptr<CalibratedPolicy>(new CalibratedPolicy(calibration, options, threshold));
}

std::shared_ptr<CalibratedPolicy> CalibratedPolicy::with_threshold(const Calibration& calibration, double threshold,
                                                                   std::optional<double> bound) {
  check(calibration, {.wrong_hit_cost = 1});
  if (std::isnan(threshold)) throw Error(ErrorCode::numeric, {"threshold"}, "NaN", "a similarity or infinity");
  if (bound && !(*bound > 0 && *bound <= 1)) {
    throw Error(ErrorCode::usage, {"bound"}, std::to_string(*bound), "a rate above 0 and at most 1");
  }
  const std::shared_ptr<CalibratedPolicy> policy(new CalibratedPolicy(calibration, {}, threshold));
  policy->bound_ = bound;
  return policy;
}

Decision CalibratedPolicy::decide(const Evidence& evidence) const {
  Decision decision;
  decision.similarity = evidence.similarity;
  decision.probability = calibration_.probability(evidence.similarity);
  decision.threshold = threshold_;
  decision.bound = bound_;
  decision.serve = evidence.similarity > threshold_;
  decision.reason = decision.serve ? Reason::similar : Reason::not_similar;
  return decision;
}

std::string CalibratedPolicy::describe() const {
  char text[192];
  const int used = std::snprintf(text, sizeof(text), "calibrated: P = sigma(s / %.6g - %.6g), ", calibration_.lambda,
                                 calibration_.offset);
  const std::size_t left = sizeof(text) - static_cast<std::size_t>(used);
  if (bound_) {
    std::snprintf(text + used, left, "similarity > %.6g, at most %.4g wrong hits proven", threshold_, *bound_);
  } else if (!options_.target_wrong_hits && !options_.wrong_hit_cost) {
    std::snprintf(text + used, left, "similarity > %.6g", threshold_);
  } else if (threshold_ == never) {
    std::snprintf(text + used, left, "no threshold reaches %.4g wrong hits: never served", *options_.target_wrong_hits);
  } else if (options_.target_wrong_hits) {
    std::snprintf(text + used, left, "similarity > %.6g for an estimated %.4g wrong hits", threshold_,
                  *options_.target_wrong_hits);
  } else {
    std::snprintf(text + used, left, "similarity > %.6g for a wrong hit that costs %.4g responses", threshold_,
                  *options_.wrong_hit_cost);
  }
  return text;
}

std::string CalibratedPolicy::parameters() const {
  nlohmann::ordered_json json = {{"kind", "calibrated"}, {"lambda", calibration_.lambda}, {"c", calibration_.offset}};
  json["threshold"] = threshold_ == never ? nlohmann::ordered_json() : nlohmann::ordered_json(threshold_);
  if (bound_) json["bound"] = *bound_;
  return json.dump();
}

}  // namespace promptcache
