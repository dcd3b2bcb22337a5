#include "promptcache/policy/logistic_evidence.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, plain_feature_count> plain_names = {
    "similarity", "closeness", "gap", "agreement", "length", "shortness", "pair_logit"};

constexpr std::size_t at(EvidenceFeature feature) { return static_cast<std::size_t>(feature); }

double log_odds(const EvidenceWeights& weights, const Evidence& evidence) {
  const auto features = evidence_features(evidence);
  double sum = weights.intercept;
  for (std::size_t i = 0; i < features.size(); ++i) {
    if (features[i]) sum += weights.weight[i] * (*features[i] - weights.center[i]);
  }
  return sum;
}

void check(const EvidenceWeights& weights, const char* stage) {
  bool finite = std::isfinite(weights.intercept);
  for (std::size_t i = 0; i < evidence_feature_count; ++i) {
    finite = finite && std::isfinite(weights.weight[i]) && std::isfinite(weights.center[i]);
  }
  if (!finite) throw Error(ErrorCode::usage, {stage}, "a weight that is not finite", "finite weights");
}

Json to_json(const EvidenceWeights& weights) {
  Json json = {{"intercept", weights.intercept}};
  for (std::size_t i = 0; i < evidence_feature_count; ++i) {
    if (weights.weight[i] != 0) json[evidence_feature_name(i)] = {weights.weight[i], weights.center[i]};
  }
  return json;
}

/// Throws nlohmann's exceptions for values of another type.
EvidenceWeights weights_from(const Json& json, const std::string& where) {
  EvidenceWeights weights;
  weights.intercept = json.at("intercept").get<double>();
  std::size_t known = 1;
  for (std::size_t i = 0; i < evidence_feature_count; ++i) {
    const auto found = json.find(evidence_feature_name(i));
    if (found == json.end()) continue;
    weights.weight[i] = found->at(0).get<double>();
    weights.center[i] = found->at(1).get<double>();
    ++known;
  }
  if (known != json.size()) {
    throw Error(ErrorCode::format, {where}, "a weight of a feature that this version does not know",
                "known features only: calibrate again");
  }
  return weights;
}

}  // namespace

std::string evidence_feature_name(std::size_t feature) {
  if (feature < plain_feature_count) return plain_names[feature];
  const std::size_t guard = feature - plain_feature_count;
  return std::string(to_string(static_cast<GuardKind>(guard / 2))) + "." +
         to_string(static_cast<GuardStrength>(guard % 2));
}

std::array<std::optional<double>, evidence_feature_count> evidence_features(const Evidence& evidence) {
  std::array<std::optional<double>, evidence_feature_count> features;
  const double s = evidence.similarity;
  features[at(EvidenceFeature::similarity)] = s;
  constexpr double least_distance = 1e-3;  // below it differences are rounding in 8 bits
  features[at(EvidenceFeature::closeness)] = -std::log(std::max(1 - s, least_distance));
  if (evidence.next_similarity)
    features[at(EvidenceFeature::gap)] = std::clamp(s - *evidence.next_similarity, 0.0, 0.2);
  features[at(EvidenceFeature::agreement)] = evidence.agreement;
  if (evidence.prompt_bytes != 0 && evidence.candidate_bytes != 0) {
    const double a = evidence.prompt_bytes, b = evidence.candidate_bytes;
    features[at(EvidenceFeature::length)] = std::min(std::abs(std::log((a + 1) / (b + 1))), 2.0);
    features[at(EvidenceFeature::shortness)] = -std::log2(std::min(a, b));
  }
  if (evidence.pair_logit) features[at(EvidenceFeature::pair_logit)] = std::clamp(*evidence.pair_logit, -12.0, 12.0);
  if (evidence.guards) {
    for (std::size_t i = 0; i < 2 * guard_kind_count; ++i) {
      features[plain_feature_count + i] = static_cast<double>(*evidence.guards >> i & 1);
    }
  }
  return features;
}

LogisticEvidence::LogisticEvidence(const EvidenceWeights& first, const std::optional<EvidenceWeights>& second,
                                   double least_similarity)
    : first_(first), second_(second), least_similarity_(least_similarity) {
  check(first, "first stage");
  if (second) check(*second, "second stage");
  if (first.weight[at(EvidenceFeature::pair_logit)] != 0) {
    throw Error(ErrorCode::usage, {"first stage"}, "a weight of the pair's logit",
                "none: it is for evidence without one");
  }
  if (!(least_similarity >= -1 && least_similarity <= 1)) {
    throw Error(ErrorCode::usage, {"least_similarity"}, std::to_string(least_similarity), "a cosine");
  }
}

LogisticEvidence LogisticEvidence::parse(std::string_view parameters, const std::string& where) {
  const auto refuse = [&](const std::string& found) {
    return Error(ErrorCode::format, {where}, found, "what LogisticEvidence::parameters() gives");
  };
  try {
    const Json json = Json::parse(parameters.begin(), parameters.end());
    if (json.at("kind") != "logistic") throw refuse("kind " + json.at("kind").dump());
    const EvidenceWeights first = weights_from(json.at("first"), where);
    const Json& second = json.at("second");
    return LogisticEvidence(first, second.is_null() ? std::nullopt : std::optional(weights_from(second, where)),
                            json.at("least_similarity").get<double>());
  } catch (const nlohmann::json::exception& error) {
    throw refuse(error.what());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::format) throw;
    throw refuse(error.what());
  }
}

double LogisticEvidence::probability(const Evidence& evidence) const {
  const double z = log_odds(evidence.pair_logit && second_ ? *second_ : first_, evidence);
  return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
}

bool LogisticEvidence::wants_pair_logit(const Evidence& evidence) const {
  return second_ && !evidence.pair_logit && evidence.similarity >= least_similarity_;
}

bool LogisticEvidence::wants_guards() const {
  const auto weighs = [](const EvidenceWeights& weights) {
    return std::any_of(weights.weight.begin() + plain_feature_count, weights.weight.end(),
                       [](double weight) { return weight != 0; });
  };
  return weighs(first_) || (second_ && weighs(*second_));
}

std::string LogisticEvidence::parameters() const {
  return Json{{"kind", "logistic"},
              {"least_similarity", least_similarity_},
              {"first", to_json(first_)},
              {"second", second_ ? to_json(*second_) : Json()}}
      .dump();
}

}  // namespace promptcache
