#include "promptcache/policy/verified_policy.hpp"

#include <cmath>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/brief_mutex.hpp"
#include "policy/verified/core.hpp"
#include "promptcache/base/digest.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"

namespace promptcache {
namespace {

constexpr std::string_view magic = "promptcache verified policy\n";
constexpr std::uint64_t version = 1;
constexpr double default_slack = 20;  // wrong hits; half of it is needed to begin, the rest forgives a few wrong audits

VerifiedPolicyOptions checked(VerifiedPolicyOptions options) {
  const auto require = [](bool good, const char* place, double found, const char* wanted) {
    if (!good) throw Error(ErrorCode::usage, {place}, std::to_string(found), wanted);
  };
  require(options.epsilon > 0 && options.epsilon < 1, "epsilon", options.epsilon, "a share between 0 and 1");
  require(options.confidence > 0 && options.confidence < 1, "confidence", options.confidence,
          "a probability between 0 and 1");
  require(options.audit_floor > 0 && options.audit_floor < 1, "audit_floor", options.audit_floor,
          "a share between 0 and 1: without audits nothing is known");
  require(options.audit_start >= options.audit_floor && options.audit_start < 1, "audit_start", options.audit_start,
          "a share of at least audit_floor and below 1");
  require(options.exploration > 0 && options.exploration <= 1, "exploration", options.exploration,
          "a share above 0 and at most 1: without it no level can be proven");
  require(options.false_alarm_after >= 1 && std::isfinite(options.false_alarm_after), "false_alarm_after",
          options.false_alarm_after, "a number of verdicts, at least 1");
  require(options.max_pending > 0, "max_pending", 0, "at least 1");
  if (options.certified) {
    const double least = options.certified->probability;
    require(least >= 0 && least <= 1, "certified.probability", least, "a probability");
  }
  const bool over_hits = options.over == BoundOver::hits;
  if (!options.slack) {
    options.slack = over_hits ? std::max(default_slack, 2 * VerifiedPolicy::least_slack(options)) : 0;
  }
  require(*options.slack >= (over_hits ? VerifiedPolicy::least_slack(options) : 0) && std::isfinite(*options.slack),
          "slack", *options.slack,
          over_hits ? "at least VerifiedPolicy::least_slack: with less nothing can be served"
                    : "a number of hits, at least 0");
  return options;
}

nlohmann::ordered_json to_json(const VerifiedPolicyOptions& options) {
  nlohmann::ordered_json json = {{"epsilon", options.epsilon},
                                 {"confidence", options.confidence},
                                 {"over", options.over == BoundOver::hits ? "hits" : "requests"},
                                 {"slack", *options.slack},
                                 {"renew", options.renew},
                                 {"audit_start", options.audit_start},
                                 {"audit_floor", options.audit_floor},
                                 {"exploration", options.exploration},
                                 {"false_alarm_after", options.false_alarm_after},
                                 {"max_pending", options.max_pending},
                                 {"max_entries", options.max_entries}};
  if (options.certified) json["certified"] = options.certified->probability;
  return json;
}

}  // namespace

struct VerifiedPolicy::Impl {
  Impl(std::shared_ptr<const EvidenceModel> evidence_model, const VerifiedPolicyOptions& given)
      : model(std::move(evidence_model)), options(checked(given)), core(make()) {}

  verified::Core make() const { return {model, options}; }

  /// What a state must agree with.
  std::string parameters() const {
    const auto of_model = nlohmann::ordered_json::parse(model->parameters(), nullptr, false);
    return nlohmann::ordered_json{{"options", to_json(options)}, {"model", of_model}}.dump();
  }

  const std::shared_ptr<const EvidenceModel> model;
  const VerifiedPolicyOptions options;
  mutable BriefMutex mutex;
  verified::Core core;
};

VerifiedPolicy::VerifiedPolicy(std::shared_ptr<const EvidenceModel> model, const VerifiedPolicyOptions& options) {
  if (!model) throw Error(ErrorCode::usage, {"VerifiedPolicy"}, "no model", "a model of the evidence");
  impl_ = std::make_unique<Impl>(std::move(model), options);
}

VerifiedPolicy::~VerifiedPolicy() = default;

std::shared_ptr<VerifiedPolicy> VerifiedPolicy::open(const std::string& model_directory, const Embedder& embedder,
                                                     const VerifiedPolicyOptions& options) {
  const ModelDirectory directory = ModelDirectory::open(model_directory);
  const ModelExtras& extras = directory.extras();
  const std::string path = directory.file("promptcache.json");
  if (!extras.lambda || !extras.offset) {
    throw Error(ErrorCode::not_found, {path}, "no lambda and c",
                "those of a calibrated model: pc-train and pc-calibrate write them");
  }
  const std::string identity = embedder.identity().hex();
  if (!extras.calibrated_embedder.empty() && extras.calibrated_embedder != identity) {
    throw Error(ErrorCode::mismatch, {path}, "a calibration made with embedder " + extras.calibrated_embedder,
                "one made with " + identity + ": run pc-calibrate with this model");
  }
  const Calibration calibration{*extras.lambda, *extras.offset};
  VerifiedPolicyOptions with_threshold = options;
  if (!options.certified && extras.verified && extras.verified->target_wrong_hits <= options.epsilon &&
      extras.verified->confidence >= options.confidence) {
    // Verified were similarities strictly above the threshold.
    with_threshold.certified.emplace();
    with_threshold.certified->probability = calibration.probability(std::nextafter(extras.verified->threshold, 2.0));
  }
  return std::make_shared<VerifiedPolicy>(std::make_shared<PlattEvidence>(calibration), with_threshold);
}

double VerifiedPolicy::least_slack(const VerifiedPolicyOptions& options) {
  const verified::Account account(options.audit_start, options.audit_floor, 1 - options.confidence);
  return account.bound(0);
}

bool VerifiedPolicy::wants_pair_logit(const Evidence& evidence) const {
  return impl_->model->wants_pair_logit(evidence);
}

bool VerifiedPolicy::wants_guards() const { return impl_->model->wants_guards(); }

Decision VerifiedPolicy::decide(const Evidence& evidence) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->core.decide(evidence);
}

void VerifiedPolicy::record(const Evidence& evidence, Decision& decision) {
  const std::lock_guard lock(impl_->mutex);
  impl_->core.record(evidence, decision);
}

void VerifiedPolicy::judged(std::uint64_t audit, Verdict verdict) {
  const std::lock_guard lock(impl_->mutex);
  impl_->core.judged(audit, verdict);
}

void VerifiedPolicy::observe(const Evidence& evidence, bool was_correct) {
  if (was_correct) return;
  const std::lock_guard lock(impl_->mutex);
  impl_->core.reported_wrong(evidence);
}

void VerifiedPolicy::forget_pending() {
  const std::lock_guard lock(impl_->mutex);
  impl_->core.forget_pending();
}

VerifiedStatus VerifiedPolicy::status() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->core.status();
}

std::string VerifiedPolicy::describe() const {
  const VerifiedStatus now = status();
  const VerifiedPolicyOptions& options = impl_->options;
  char text[256];
  const int used = std::snprintf(text, sizeof(text), "verified: at most %.4g wrong %s with confidence %.4g, %llu hits",
                                 options.epsilon, options.over == BoundOver::hits ? "hits" : "hits of requests",
                                 options.confidence, static_cast<unsigned long long>(now.hits));
  const std::size_t left = sizeof(text) - static_cast<std::size_t>(used);
  if (now.open_score) {
    std::snprintf(text + used, left, " of which at most %.4g are wrong, P >= %.6g served, %.3g of them audited",
                  now.wrong_bound, *now.open_score, now.audit_probability);
  } else {
    std::snprintf(text + used, left, " of which at most %.4g are wrong, nothing served until more is proven",
                  now.wrong_bound);
  }
  return text;
}

std::string VerifiedPolicy::state() const {
  verified::StateWriter body;
  body.add(impl_->parameters());
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->core.save(body);
  }
  verified::StateWriter head;
  head.add(version);
  const std::string content = std::string(magic) + head.bytes() + body.bytes();
  return content + std::string(sha256(content).view());
}

void VerifiedPolicy::restore(std::string_view state, const std::string& place) {
  const auto refuse = [&](const std::string& found) -> Error {
    return {ErrorCode::format, {place}, found, "a whole state of a VerifiedPolicy, version " + std::to_string(version)};
  };
  if (state.substr(0, magic.size()) != magic) throw refuse("something else or the beginning of a state");
  constexpr std::size_t digest_bytes = sizeof(Digest::bytes);
  if (state.size() < magic.size() + 8) throw refuse("the beginning of a state");
  verified::StateReader head(state.substr(magic.size(), 8), place);
  const std::uint64_t found = head.whole();
  if (found != version) throw refuse("version " + std::to_string(found));
  if (state.size() < magic.size() + 8 + digest_bytes) throw refuse("the beginning of a state");
  const std::string_view content = state.substr(0, state.size() - digest_bytes);
  if (sha256(content).view() != state.substr(content.size())) throw refuse("a torn state: its checksum is another");
  verified::StateReader body(content.substr(magic.size() + 8), place);
  const std::string_view parameters = body.text();
  if (parameters != impl_->parameters()) {
    throw Error(ErrorCode::mismatch, {place}, "a state of " + std::string(parameters), "one of " + impl_->parameters());
  }
  verified::Core core = impl_->make();
  core.load(body);
  const std::lock_guard lock(impl_->mutex);
  impl_->core = std::move(core);
}

void VerifiedPolicy::save(const std::string& path) const { write_file_atomically(path, state()); }

void VerifiedPolicy::load(const std::string& path) { restore(read_file(path), path); }

}  // namespace promptcache
