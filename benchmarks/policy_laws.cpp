// What policies do to made-up streams whose truth is known: is the promise kept at all times, and at what price.
//
//     policy_laws [--seeds 20] [--requests 10000] [--epsilon 0.02] [--laws flat,step] [--delay 0] [--json FILE]
//
// Verified: from nothing; and with a threshold certified on 2,000 judged pairs of the first moment. Static: similarity
// > 0.9. Calibrated: fitted to 500 judged pairs of the first moment. Per entry: vCache's rule with the
// error bound epsilon, and "matched", with the largest bound of a list at which its hits are no more often wrong than
// those of the verified policy. Kept: share of runs in which the mean of P(wrong) over the first n hits was at most
// epsilon at every n, and the largest excess of the sum over epsilon n in any run.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/random.hpp"
#include "eval/policy_laws.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/hit_bound.hpp"
#include "promptcache/policy/calibrated_policy.hpp"
#include "promptcache/policy/per_entry_policy.hpp"
#include "promptcache/policy/threshold_policy.hpp"
#include "promptcache/policy/verified_policy.hpp"

namespace {

using namespace promptcache;

struct Options {
  std::size_t seeds = 20, requests = 10000, delay = 0;
  double epsilon = 0.02;
  bool alone = false;
  std::string over = "hits", json;
  std::vector<std::string> laws = promptcache::laws::names();
};

using Maker = std::function<std::shared_ptr<CachePolicy>(const std::string& law, std::uint64_t seed)>;

/// Judged candidates of the first moment.
struct Sample {
  std::vector<double> similarities, labels;
  std::vector<std::uint8_t> positive;
};

Sample sample_of(const std::string& law_name, std::uint64_t seed, int count) {
  const auto law = laws::make(law_name, seed);
  std::mt19937_64 random = base::generator(seed, 9);
  Sample sample;
  for (int i = 0; i < count; ++i) {
    const laws::Request request = law->next(0, 1000, random);
    const bool wrong = base::uniform_share(random) < request.wrong;
    const bool right = wrong == (base::uniform_share(random) < law->noise());
    sample.similarities.push_back(request.similarity);
    sample.labels.push_back(right ? 1 : 0);
    sample.positive.push_back(right ? 1 : 0);
  }
  return sample;
}

std::shared_ptr<CachePolicy> calibrated(const std::string& law, std::uint64_t seed, double epsilon) {
  const Sample sample = sample_of(law, seed, 500);
  try {
    return CalibratedPolicy::fit(sample.similarities, sample.labels, {.target_wrong_hits = epsilon});
  } catch (const Error&) {  // one label only, or a similarity that says nothing
    return std::make_shared<ThresholdPolicy>(0.9);
  }
}

/// What pc-calibrate certifies on as many pairs.
std::optional<CertifiedScore> certified(const EvidenceModel& model, const std::string& law, std::uint64_t seed,
                                        double epsilon) {
  const Sample sample = sample_of(law, seed, 2000);
  HitBoundOptions options;
  options.target = epsilon;
  const ThresholdChoice choice = choose_threshold(sample.similarities, sample.positive, options);
  if (!choice.chosen) return std::nullopt;
  Evidence least;
  least.similarity = std::nextafter(choice.chosen->threshold, 2.0);
  return CertifiedScore{model.probability(least), choice.chosen->hits, choice.chosen->wrong};
}

struct Summary {
  std::size_t runs = 0, kept = 0, kept_judge = 0, kept_slack = 0, kept_requests = 0;
  double hits = 0, wrong = 0, hits_at[2] = {0, 0}, wrong_at[2] = {0, 0}, audits = 0, verdicts = 0, late = 0;
  double excess = 0, excess_wrong = 0, excess_judge = 0, renewals = 0, alarms = 0;

  double rate() const { return hits > 0 ? wrong / hits : 0; }
};

constexpr double slack = 20;  // of the verified policy

Summary summarize(const Options& options, const std::string& law_name, const Maker& make) {
  Summary summary;
  const double all = static_cast<double>(options.requests) * static_cast<double>(options.seeds);
  for (std::uint64_t seed = 1; seed <= options.seeds; ++seed) {
    const auto law = laws::make(law_name, seed);
    const auto policy = make(law_name, seed);
    const laws::Run run = laws::play(*law, *policy, options.requests, options.epsilon, seed, options.delay);
    ++summary.runs;
    summary.kept += run.mean_kept ? 1 : 0;
    summary.kept_judge += run.mean_kept_judge ? 1 : 0;
    summary.kept_slack += run.excess <= slack ? 1 : 0;
    summary.kept_requests += run.requests_kept ? 1 : 0;
    summary.hits += static_cast<double>(run.hits) / all;
    summary.wrong += static_cast<double>(run.wrong) / all;
    for (int i = 0; i < 2; ++i) {
      const double part = 1000.0 * (i + 1) * static_cast<double>(options.seeds);
      summary.hits_at[i] += static_cast<double>(run.hits_at[i]) / part;
      summary.wrong_at[i] += static_cast<double>(run.wrong_at[i]) / part;
    }
    summary.audits += static_cast<double>(run.audits) / all;
    summary.verdicts += static_cast<double>(run.verdicts) / all;
    summary.late += run.late / static_cast<double>(options.seeds);
    summary.excess = std::max(summary.excess, run.excess);
    summary.excess_wrong = std::max(summary.excess_wrong, run.excess_wrong);
    summary.excess_judge = std::max(summary.excess_judge, run.excess_judge);
    if (const auto* verified = dynamic_cast<VerifiedPolicy*>(policy.get())) {
      summary.renewals += static_cast<double>(verified->status().renewals);
      summary.alarms += static_cast<double>(verified->status().alarms);
    }
  }
  return summary;
}

nlohmann::ordered_json to_json(const Summary& s) {
  return {{"runs", s.runs},
          {"kept", s.kept},
          {"kept_by_judge", s.kept_judge},
          {"kept_with_slack", s.kept_slack},
          {"kept_over_requests", s.kept_requests},
          {"largest_excess", s.excess},
          {"largest_excess_of_wrong_hits", s.excess_wrong},
          {"largest_excess_by_judge", s.excess_judge},
          {"hit_rate", s.hits},
          {"hit_rate_1000", s.hits_at[0]},
          {"hit_rate_2000", s.hits_at[1]},
          {"hit_rate_last_fifth", s.late},
          {"wrong_of_hits", s.rate()},
          {"wrong_of_hits_1000", s.hits_at[0] > 0 ? s.wrong_at[0] / s.hits_at[0] : 0},
          {"wrong_of_hits_2000", s.hits_at[1] > 0 ? s.wrong_at[1] / s.hits_at[1] : 0},
          {"audits", s.audits},
          {"verdicts", s.verdicts},
          {"alarms", s.alarms},
          {"renewals", s.renewals}};
}

void print(const char* policy, const Summary& s) {
  std::printf("  %-22s %3zu/%zu %3zu/%zu %3zu/%zu %7.1f %7.4f %6.1f%% %6.1f%% %6.1f%% %6.1f%% %6.1f%% %6.1f%%  %g/%g\n",
              policy, s.kept, s.runs, s.kept_judge, s.runs, s.kept_requests, s.runs, s.excess, s.rate(),
              100 * s.hits_at[0], 100 * s.hits_at[1], 100 * s.hits, 100 * s.late, 100 * s.audits, 100 * s.verdicts,
              s.alarms, s.renewals);
  std::fflush(stdout);
}

int run(const Options& options) {
  const auto model = std::make_shared<PlattEvidence>(Calibration{0.05, 16});
  VerifiedPolicyOptions verified;
  verified.epsilon = options.epsilon;
  verified.over = options.over == "hits" ? BoundOver::hits : BoundOver::requests;
  const Maker make_verified = [&](const std::string&, std::uint64_t) {
    return std::make_shared<VerifiedPolicy>(model, verified);
  };
  const auto per_entry = [](double delta) -> Maker {
    return [delta](const std::string&, std::uint64_t) { return std::make_shared<PerEntryPolicy>(delta); };
  };
  nlohmann::ordered_json json = {{"epsilon", options.epsilon},
                                 {"seeds", options.seeds},
                                 {"requests", options.requests},
                                 {"delay", options.delay},
                                 {"over", options.over}};
  std::printf("epsilon %g, %zu seeds, %zu requests\n", options.epsilon, options.seeds, options.requests);
  std::printf("  %-22s %5s %5s %5s %7s %7s %7s %7s %7s %7s %7s %7s  %s\n", "policy", "kept", "judge", "requ.", "excess",
              "wrong", "hit1000", "hit2000", "hits", "late", "audits", "judged", "alarms/renewals");
  for (const std::string& law : options.laws) {
    std::printf("%s\n", law.c_str());
    const Summary ours = summarize(options, law, make_verified);
    print("verified", ours);
    json["laws"][law]["verified"] = to_json(ours);
    if (options.alone) continue;
    const auto other = [&](const char* name, const Maker& maker) {
      const Summary summary = summarize(options, law, maker);
      print(name, summary);
      json["laws"][law][name] = to_json(summary);
    };
    other("verified, 2000 pairs", [&](const std::string& name, std::uint64_t seed) {
      VerifiedPolicyOptions with_pairs = verified;
      with_pairs.certified = certified(*model, name, seed, options.epsilon);
      return std::make_shared<VerifiedPolicy>(model, with_pairs);
    });
    other("static", [](const std::string&, std::uint64_t) { return std::make_shared<ThresholdPolicy>(0.9); });
    other("calibrated",
          [&](const std::string& name, std::uint64_t seed) { return calibrated(name, seed, options.epsilon); });
    other("per entry", per_entry(options.epsilon));
    std::optional<Summary> matched;
    for (const double delta : {0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005}) {
      matched = summarize(options, law, per_entry(delta));
      if (matched->rate() > ours.rate()) continue;
      json["laws"][law]["per entry, matched"]["delta"] = delta;
      break;
    }
    print("per entry, matched", *matched);
    json["laws"][law]["per entry, matched"].update(to_json(*matched));
  }
  if (!options.json.empty()) write_file_atomically(options.json, json.dump(2) + "\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Plays policies on made-up streams whose truth is known.\nExample: policy_laws --seeds 20",
               "policy_laws"};
  Options options;
  app.add_option("--seeds", options.seeds, "runs of each law and policy")->check(CLI::PositiveNumber);
  app.add_option("--requests", options.requests, "requests of a run")->check(CLI::PositiveNumber);
  app.add_option("--epsilon", options.epsilon, "accepted share of wrong hits")->check(CLI::Range(1e-6, 0.999));
  app.add_option("--laws", options.laws, "laws to play, separated by commas")->delimiter(',');
  app.add_option("--delay", options.delay, "requests that come before a verdict does");
  app.add_option("--over", options.over, "the promise of the verified policy")
      ->check(CLI::IsMember({"hits", "requests"}));
  app.add_flag("--alone", options.alone, "the verified policy only");
  app.add_option("--json", options.json, "write the figures to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "policy_laws: %s\n", error.what());
    return 1;
  }
}
