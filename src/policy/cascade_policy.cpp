#include "promptcache/policy/cascade_policy.hpp"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"
#include "promptcache/model/model_directory.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::ordered_json;

void check(const CascadeStage& stage, const char* name) {
  if (std::isnan(stage.threshold)) {
    throw Error(ErrorCode::numeric, {std::string(name) + ".threshold"}, "NaN", "a probability or infinity");
  }
  if (stage.bound && !(*stage.bound > 0 && *stage.bound <= 1)) {
    throw Error(ErrorCode::usage, {std::string(name) + ".bound"}, std::to_string(*stage.bound),
                "a rate above 0 and at most 1");
  }
}

Json to_json(const CascadeStage& stage) {
  Json json = {{"threshold", nullptr}};
  if (std::isfinite(stage.threshold)) json["threshold"] = stage.threshold;
  if (stage.bound) json["bound"] = *stage.bound;
  return json;
}

std::string to_text(const CascadeStage& stage) {
  if (stage.threshold >= 1) return "never served";
  char text[96];
  std::snprintf(text, sizeof(text), stage.bound ? "P > %.6g, at most %.4g wrong hits proven" : "P > %.6g",
                stage.threshold, stage.bound.value_or(0));
  return text;
}

std::shared_ptr<const Guards> guards_of(const std::string& action, const std::string& path) {
  if (action == to_string(GuardAction::off)) return nullptr;
  if (action == to_string(GuardAction::veto)) return Guards::english();
  if (action == to_string(GuardAction::flag)) return Guards::english(GuardOptions::all(GuardAction::flag));
  throw Error(ErrorCode::format, {path}, "guards '" + action + "'", "off, flag or veto");
}

}  // namespace

CascadePolicy::CascadePolicy(std::shared_ptr<const EvidenceModel> model, const CascadeStage& first,
                             const CascadeStage& second)
    : model_(std::move(model)), first_(first), second_(second) {
  if (!model_) throw Error(ErrorCode::usage, {"CascadePolicy"}, "no model", "a model of the evidence");
  check(first, "first");
  check(second, "second");
}

std::shared_ptr<CascadePolicy> CascadePolicy::open(const std::string& model_directory, const Embedder& embedder,
                                                   const PairScorer* scorer, const CalibratedPolicyOptions& options) {
  const double least = least_probability(options);
  const ModelDirectory directory = ModelDirectory::open(model_directory);
  const std::string path = directory.file("promptcache.json");
  if (directory.extras().cascade.empty()) {
    throw Error(ErrorCode::not_found, {path}, "no cascade", "one that pc-calibrate --cascade wrote");
  }
  try {
    const Json json = Json::parse(directory.extras().cascade);
    const auto require_same = [&](const char* what, const std::string& calibrated, const std::string& found) {
      if (calibrated == found) return;
      throw Error(ErrorCode::mismatch, {path},
                  std::string("a cascade calibrated with ") + what + " " + (calibrated.empty() ? "none" : calibrated),
                  "one calibrated with " + found + ": run pc-calibrate with these models");
    };
    require_same("embedder", json.at("embedder").get<std::string>(), embedder.identity().hex());
    if (scorer != nullptr) {
      const Json& known = json.at("scorer");
      require_same("pair scorer", known.is_null() ? "" : known.get<std::string>(), scorer->identity().hex());
    }
    const bool proven =
        options.target_wrong_hits && json.at("target_wrong_hits").get<double>() <= *options.target_wrong_hits;
    const auto stage = [&](const char* name) {
      const Json& known = json.at(name);
      // Estimated were probabilities of at least `least`; served are those above a threshold.
      if (known.is_null() || !proven) return CascadeStage{std::nextafter(least, 0.0), {}};
      return CascadeStage{known.at("threshold").get<double>(), known.at("upper_bound").get<double>()};
    };
    auto policy = std::make_shared<CascadePolicy>(make_evidence_model(json.at("model").dump(), path), stage("first"),
                                                  scorer != nullptr ? stage("second") : CascadeStage());
    policy->guards_ = guards_of(json.at("guards").get<std::string>(), path);
    return policy;
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::format, {path}, error.what(), "a cascade as pc-calibrate writes it");
  }
}

Decision CascadePolicy::decide(const Evidence& evidence) const {
  const CascadeStage& stage = evidence.pair_logit ? second_ : first_;
  Decision decision;
  decision.similarity = evidence.similarity;
  decision.next_similarity = evidence.next_similarity;
  decision.probability = model_->probability(evidence);
  decision.bound = stage.bound;
  decision.serve = *decision.probability > stage.threshold;
  decision.reason = decision.serve ? Reason::similar : Reason::not_similar;
  return decision;
}

std::string CascadePolicy::describe() const {
  return "cascade: without a pair's logit " + to_text(first_) + "; with it " + to_text(second_);
}

std::string CascadePolicy::parameters() const {
  return Json{{"kind", "cascade"},
              {"model", Json::parse(model_->parameters())},
              {"first", to_json(first_)},
              {"second", to_json(second_)}}
      .dump();
}

}  // namespace promptcache
