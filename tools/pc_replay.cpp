#include <CLI/CLI.hpp>
#include <bit>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "promptcache/base/error.hpp"
#include "promptcache/cache/decision_record.hpp"
#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/threshold_policy.hpp"
#include "tool.hpp"

namespace {

using promptcache::CachePolicy;
using promptcache::Decision;
using promptcache::DecisionRecord;
using PolicyPointer = std::shared_ptr<CachePolicy>;

struct Options {
  std::string records, model, changes;
  std::optional<double> threshold, target_wrong_hits, wrong_hit_cost;
};

/// The policy asked for; null: the one that the records name.
PolicyPointer policy_of(const Options& options) {
  if (options.threshold) return std::make_shared<promptcache::ThresholdPolicy>(*options.threshold);
  if (options.model.empty()) return nullptr;
  return promptcache::CalibratedPolicy::open(options.model, {options.target_wrong_hits, options.wrong_hit_cost});
}

/// The policy of a line that names one; null: another line.
PolicyPointer named_policy(const std::string& line, const std::string& where) {
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("policy")) return nullptr;
  if (json["policy"].is_null()) {
    throw promptcache::Error(promptcache::ErrorCode::unsupported, {where}, "a policy of the caller's own",
                             "--threshold or --model with the policy to replay");
  }
  return promptcache::make_policy(json["policy"].dump());
}

bool same_bits(std::optional<double> a, std::optional<double> b) {
  if (a.has_value() != b.has_value()) return false;
  return !a || std::bit_cast<std::uint64_t>(*a) == std::bit_cast<std::uint64_t>(*b);
}

struct Counts {
  std::size_t lookups = 0, decided = 0, served_then = 0, served_now = 0, fewer = 0, more = 0, other_bits = 0;
};

int replay(const Options& options) {
  std::ifstream file(options.records);
  if (!file) throw promptcache::system_error({options.records}, errno, "a file of decision records");
  std::ofstream changes;
  if (!options.changes.empty()) {
    changes.open(options.changes);
    if (!changes) throw promptcache::system_error({options.changes}, errno, "a file that can be written");
  }
  const PolicyPointer given = policy_of(options);
  PolicyPointer policy = given;
  Counts counts;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    const std::string where = options.records + ":" + std::to_string(number);
    if (line.find("\"policy\":") != std::string::npos) {
      if (!given) policy = named_policy(line, where);
      continue;
    }
    const DecisionRecord record = promptcache::decision_record_from_json(line, where);
    const Decision& then = record.decision;
    ++counts.lookups;
    // Only these were a policy's; a shared response repeats the decision of the request that led.
    const bool decided =
        record.outcome != promptcache::Outcome::coalesced &&
        (then.reason == promptcache::Reason::similar || then.reason == promptcache::Reason::not_similar);
    if (!decided) continue;
    if (!policy) {
      throw promptcache::Error(promptcache::ErrorCode::format, {where}, "no line before this that names the policy",
                               "records as DecisionRecorder writes them, or --threshold or --model");
    }
    ++counts.decided;
    promptcache::Evidence evidence = then.evidence;
    if (evidence.entry == 0) evidence = {then.entry, then.similarity, then.next_similarity};  // an older record
    const Decision now = policy->decide(evidence);
    counts.served_then += then.serve ? 1 : 0;
    counts.served_now += now.serve ? 1 : 0;
    counts.fewer += then.serve && !now.serve ? 1 : 0;
    counts.more += !then.serve && now.serve ? 1 : 0;
    const bool same = now.serve == then.serve && now.reason == then.reason &&
                      same_bits(now.threshold, then.threshold) && same_bits(now.probability, then.probability) &&
                      same_bits(now.bound, then.bound) && same_bits(now.similarity, then.similarity);
    counts.other_bits += same ? 0 : 1;
    if (changes.is_open() && now.serve != then.serve) changes << line << "\n";
  }
  if (counts.lookups == 0) {
    throw promptcache::Error(promptcache::ErrorCode::format, {options.records}, "no records", "at least one");
  }
  std::printf("%zu lookups, %zu of them decided by a policy; replayed under %s\n", counts.lookups, counts.decided,
              policy ? policy->describe().c_str() : "none");
  std::printf("  served then        %8zu\n  served now         %8zu\n", counts.served_then, counts.served_now);
  std::printf("  served no more     %8zu\n  newly served       %8zu\n", counts.fewer, counts.more);
  std::printf("  decisions that differ in any bit %zu\n", counts.other_bits);
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Decides recorded lookups again, under the policy they were decided by or another, and prints what would "
      "change.\n"
      "Example: pc-replay --records decisions.jsonl --threshold 0.93",
      "pc-replay"};
  Options options;
  app.add_option("--records", options.records, "file that a DecisionRecorder has written")->required();
  auto* threshold = app.add_option("--threshold", options.threshold, "replay under a threshold of similarity")
                        ->check(CLI::Range(-1.0, 1.0));
  auto* model = app.add_option("--model", options.model, "replay under the calibration of this model directory");
  threshold->excludes(model);
  auto* target =
      app.add_option("--target-wrong-hits", options.target_wrong_hits, "with --model: accepted share of wrong hits");
  auto* cost =
      app.add_option("--wrong-hit-cost", options.wrong_hit_cost, "with --model: cost of a wrong hit in responses");
  target->needs(model)->excludes(cost);
  cost->needs(model);
  app.add_option("--changes", options.changes, "write the records that would be decided otherwise to this file");
  return tool::run(app, argc, argv, [&] { return replay(options); });
}
