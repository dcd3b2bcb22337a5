#include "promptcache/cache/decision_record.hpp"

#include <cerrno>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::ordered_json;

constexpr Outcome outcomes[] = {Outcome::exact_hit, Outcome::semantic_hit, Outcome::coalesced, Outcome::miss};

/// JSON has no infinity: a threshold that nothing reaches.
Json or_null(const std::optional<double>& value) {
  if (!value) return {};
  return std::isinf(*value) ? Json("infinity") : Json(*value);
}

std::int64_t microseconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

}  // namespace

const char* to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::exact_hit: return "exact_hit";
    case Outcome::semantic_hit: return "semantic_hit";
    case Outcome::coalesced: return "coalesced";
    case Outcome::miss: return "miss";
  }
  return "unknown";
}

std::string to_json(const DecisionRecord& record) {
  const Decision& decision = record.decision;
  Json json = {{"time", microseconds(record.time)},
               {"id", decision.id},
               {"outcome", to_string(record.outcome)},
               {"reason", to_string(decision.reason)},
               {"scope", record.scope.hex()},
               {"request", decision.request.hex()},
               {"entry", decision.entry},
               {"candidate", decision.candidate.hex()},
               {"serve", decision.serve},
               {"similarity", decision.similarity},
               {"next_similarity", or_null(decision.next_similarity)},
               {"threshold", or_null(decision.threshold)},
               {"probability", or_null(decision.probability)},
               {"bound", or_null(decision.bound)}};
  if (const Evidence& evidence = decision.evidence; evidence.entry != 0) {
    json["evidence"] = {{"coin", evidence.coin},
                        {"pair_logit", or_null(evidence.pair_logit)},
                        {"guards", evidence.guards ? Json(*evidence.guards) : Json()},
                        {"agreement", or_null(evidence.agreement)},
                        {"prompt_bytes", evidence.prompt_bytes},
                        {"candidate_bytes", evidence.candidate_bytes}};
    json["audit_probability"] = or_null(decision.audit_probability);
    json["audit"] = decision.audit;
  }
  const Timings& timings = decision.timings;
  json["nanoseconds"] = {{"exact", timings.exact.count()},
                         {"embed", timings.embed.count()},
                         {"search", timings.search.count()},
                         {"score", timings.score.count()},
                         {"decide", timings.decide.count()}};
  return json.dump();
}

DecisionRecord decision_record_from_json(std::string_view line, const std::string& where) {
  const auto refuse = [&](const std::string& found) -> Error {
    return {ErrorCode::format, {where}, found, "a record of a decision"};
  };
  const Json json = Json::parse(line.begin(), line.end(), nullptr, false);
  if (!json.is_object()) throw refuse("no JSON object");
  const auto at = [&](const char* key) -> const Json& {
    if (!json.contains(key)) throw refuse("no '" + std::string(key) + "'");
    return json[key];
  };
  const auto digest = [&](const char* key) {
    const auto value = Digest::from_hex(at(key).get<std::string>());
    if (!value) throw refuse("'" + std::string(key) + "' that is no digest");
    return *value;
  };
  const auto optional = [&](const char* key) {
    if (at(key) == "infinity") return std::optional(std::numeric_limits<double>::infinity());
    return at(key).is_null() ? std::nullopt : std::optional(at(key).get<double>());
  };
  try {
    DecisionRecord record;
    record.time = std::chrono::system_clock::time_point(std::chrono::microseconds(at("time").get<std::int64_t>()));
    bool known = false;
    for (const Outcome outcome : outcomes) {
      if (at("outcome") != to_string(outcome)) continue;
      record.outcome = outcome;
      known = true;
    }
    if (!known) throw refuse("outcome " + at("outcome").dump());
    known = false;
    Decision& decision = record.decision;
    for (std::size_t i = 0; i < reason_count; ++i) {
      if (at("reason") != to_string(static_cast<Reason>(i))) continue;
      decision.reason = static_cast<Reason>(i);
      known = true;
    }
    if (!known) throw refuse("reason " + at("reason").dump());
    decision.id = at("id").get<DecisionId>();
    record.scope = digest("scope");
    decision.request = digest("request");
    decision.entry = at("entry").get<EntryId>();
    decision.candidate = digest("candidate");
    decision.serve = at("serve").get<bool>();
    decision.similarity = at("similarity").get<double>();
    decision.next_similarity = optional("next_similarity");
    decision.threshold = optional("threshold");
    decision.probability = optional("probability");
    decision.bound = optional("bound");
    if (json.contains("evidence")) {
      const Json& told = json["evidence"];
      const auto number = [&](const char* key) {
        return told.at(key).is_null() ? std::nullopt : std::optional(told.at(key).get<double>());
      };
      Evidence& evidence = decision.evidence;
      evidence.entry = decision.entry;
      evidence.similarity = decision.similarity;
      evidence.next_similarity = decision.next_similarity;
      evidence.coin = told.at("coin").get<double>();
      evidence.pair_logit = number("pair_logit");
      if (!told.at("guards").is_null()) evidence.guards = told["guards"].get<std::uint64_t>();
      evidence.agreement = number("agreement");
      evidence.prompt_bytes = told.at("prompt_bytes").get<std::uint32_t>();
      evidence.candidate_bytes = told.at("candidate_bytes").get<std::uint32_t>();
      decision.audit_probability = optional("audit_probability");
      decision.audit = at("audit").get<std::uint64_t>();
    }
    const Json& times = at("nanoseconds");
    const auto time = [&](const char* key) { return std::chrono::nanoseconds(times.at(key).get<std::int64_t>()); };
    decision.timings = {time("exact"), time("embed"), time("search"),
                        times.contains("score") ? time("score") : std::chrono::nanoseconds(0), time("decide")};
    return record;
  } catch (const nlohmann::json::exception& error) {
    throw refuse(error.what());
  }
}

DecisionRecorder::DecisionRecorder(const std::string& path, const CachePolicy& policy)
    : shared_(std::make_shared<Shared>()) {
  shared_->file.open(path, std::ios::app);
  if (!shared_->file) throw system_error({path}, errno, "a file that can be written");
  const std::string parameters = policy.parameters();
  const Json json = {{"policy", parameters.empty() ? Json() : Json::parse(parameters)},
                     {"description", policy.describe()}};
  shared_->file << json.dump() << std::endl;
  if (!shared_->file) throw system_error({path}, errno, "a file that can be written");
}

void DecisionRecorder::operator()(const DecisionRecord& record) const {
  const std::string line = to_json(record) + "\n";
  const std::lock_guard lock(shared_->mutex);
  shared_->file << line;
}

}  // namespace promptcache
