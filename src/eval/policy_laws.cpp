#include "eval/policy_laws.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "base/random.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache::laws {
namespace {

using base::uniform_share;

double logistic_wrong(double similarity, double centre) { return 1 / (1 + std::exp((similarity - centre) / 0.02)); }

/// Entries by popularity 1 / rank^exponent, and similarities in [0.6, 1] that are more often high than low.
class World : public Law {
 public:
  World(std::size_t entries, double exponent) {
    double total = 0;
    for (std::size_t i = 0; i < entries; ++i) {
      total += std::pow(static_cast<double>(i + 1), -exponent);
      cumulative_.push_back(total);
    }
  }

  Request next(std::size_t number, std::size_t count, std::mt19937_64& random) override {
    Request request;
    const double place = uniform_share(random) * cumulative_.back();
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), place);
    request.entry =
        std::min<std::size_t>(static_cast<std::size_t>(found - cumulative_.begin()), cumulative_.size() - 1) + 1;
    request.similarity = 0.6 + 0.4 * std::sqrt(uniform_share(random));
    request.wrong = wrong(request, static_cast<double>(number) / static_cast<double>(count));
    return request;
  }

 protected:
  virtual double wrong(const Request& request, double time) = 0;

 private:
  std::vector<double> cumulative_;
};

/// P(wrong) by a function of the request and the time in [0, 1).
class Plain : public World {
 public:
  using Function = std::function<double(const Request&, double)>;
  explicit Plain(Function function, double noise = 0, std::size_t entries = 500, double exponent = 0.9)
      : World(entries, exponent), function_(std::move(function)), noise_(noise) {}
  double noise() const override { return noise_; }

 protected:
  double wrong(const Request& request, double time) override { return function_(request, time); }

 private:
  Function function_;
  double noise_;
};

/// Nearly clean at first. Whenever the policy has served something less similar than all before, what lies there is bad
/// for a while; and once, long after, a middle band is.
class Adversary : public World {
 public:
  Adversary() : World(500, 0.9) {}
  void served(const Request& request) override {
    ++hits_;
    if (request.similarity > lowest_ - 0.01) {
      lowest_ = std::min(lowest_, request.similarity);
      return;
    }
    // The mean over a few hits can be broken by a handful, before anybody can have seen one of them.
    if (hits_ > patience) {
      bad_above_ = request.similarity - 0.02;
      bad_below_ = lowest_;
      left_ = 200;
    }
    lowest_ = request.similarity;
  }

 protected:
  double wrong(const Request& request, double time) override {
    if (left_ > 0) {
      --left_;
      if (request.similarity > bad_above_ && request.similarity < bad_below_) return 0.5;
    }
    if (time > 0.5 && time < 0.6 && request.similarity > 0.85 && request.similarity < 0.95) return 0.4;
    return request.similarity > 0.75 ? 0.001 : 0.3;
  }

 private:
  static constexpr std::size_t patience = 500;
  std::size_t hits_ = 0, left_ = 0;
  double lowest_ = 1, bad_above_ = 0, bad_below_ = 0;
};

/// A number in (0, 1) that belongs to an entry.
double share_of(EntryId entry, std::uint64_t seed) {
  return (static_cast<double>(base::scattered(entry ^ base::scattered(seed)) >> 11) + 0.5) * 0x1p-53;
}

double drifting_centre(double time) { return time < 0.5 ? 0.76 + 0.06 * time / 0.5 : 0.86; }

}  // namespace

const std::vector<std::string>& names() {
  static const std::vector<std::string> all{"flat",      "logistic", "step",  "drift",   "noise",
                                            "adversary", "heavy",    "mixed", "hopeless"};
  return all;
}

std::unique_ptr<Law> make(const std::string& name, std::uint64_t seed) {
  const auto plain = [](auto... arguments) { return std::make_unique<Plain>(arguments...); };
  if (name == "flat") return plain([](const Request&, double) { return 0.004; });
  if (name == "hopeless") return plain([](const Request&, double) { return 0.2; });
  if (name == "logistic") return plain([](const Request& r, double) { return logistic_wrong(r.similarity, 0.8); });
  if (name == "noise") return plain([](const Request& r, double) { return logistic_wrong(r.similarity, 0.8); }, 0.05);
  if (name == "step") return plain([](const Request& r, double) { return r.similarity > 0.85 ? 0.001 : 0.5; });
  if (name == "drift") {
    return plain([](const Request& r, double time) { return logistic_wrong(r.similarity, drifting_centre(time)); });
  }
  if (name == "adversary") return std::make_unique<Adversary>();
  if (name == "heavy") {
    return plain(
        [seed](const Request& r, double) {
          // Entries differ by a logistic amount, and the few at the top are most of the traffic.
          const double u = share_of(r.entry, seed);
          return logistic_wrong(r.similarity, 0.8 + 0.02 * std::log(u / (1 - u)));
        },
        0.0, std::size_t{20000}, 1.3);
  }
  if (name == "mixed") {
    return plain([seed](const Request& r, double) { return share_of(r.entry, seed) < 0.5 ? 0.002 : 0.25; });
  }
  throw Error(ErrorCode::usage, {"law"}, "'" + name + "'", "one of the names of laws");
}

Run play(Law& law, CachePolicy& policy, std::size_t requests, double epsilon, std::uint64_t seed, std::size_t delay) {
  std::mt19937_64 random = base::generator(seed, 1);
  std::mt19937_64 coins = base::generator(seed, 2);  // apart, so that all policies meet the same world
  std::mt19937_64 verdicts = base::generator(seed, 3);
  Run run;
  std::deque<std::pair<std::size_t, std::pair<std::uint64_t, Verdict>>> late;
  double sum_judge = 0;
  std::size_t late_hits = 0;
  for (std::size_t i = 0; i < requests; ++i) {
    while (!late.empty() && late.front().first <= i) {
      policy.judged(late.front().second.first, late.front().second.second);
      late.pop_front();
    }
    const Request request = law.next(i, requests, random);
    const bool wrong = uniform_share(verdicts) < request.wrong;
    const bool judged_wrong = wrong != (uniform_share(verdicts) < law.noise());
    Evidence evidence;
    evidence.entry = request.entry;
    evidence.similarity = request.similarity;
    evidence.coin = uniform_share(coins);
    Decision decision = policy.decide(evidence);
    policy.record(evidence, decision);
    run.audits += decision.reason == Reason::audited ? 1 : 0;
    if (decision.audit != 0) {
      ++run.verdicts;
      const Verdict verdict = judged_wrong ? Verdict::wrong : Verdict::right;
      if (delay == 0) {
        policy.judged(decision.audit, verdict);
      } else {
        late.push_back({i + delay, {decision.audit, verdict}});
      }
    }
    if (decision.serve) {
      law.served(request);
      ++run.hits;
      run.wrong += wrong ? 1 : 0;
      run.sum += request.wrong;
      sum_judge += request.wrong + law.noise() * (1 - 2 * request.wrong);
      late_hits += i >= requests - requests / 5 ? 1 : 0;
      const double allowed = epsilon * static_cast<double>(run.hits);
      run.mean_kept = run.mean_kept && run.sum <= allowed * (1 + 1e-12);
      run.mean_kept_judge = run.mean_kept_judge && sum_judge <= allowed * (1 + 1e-12);
      run.excess = std::max(run.excess, run.sum - allowed);
      run.excess_wrong = std::max(run.excess_wrong, static_cast<double>(run.wrong) - allowed);
      run.excess_judge = std::max(run.excess_judge, sum_judge - allowed);
      run.requests_kept = run.requests_kept && run.sum <= epsilon * static_cast<double>(i + 1);
    }
    if (i + 1 == 1000 || i + 1 == 2000) {
      run.hits_at[i / 1000] = run.hits;
      run.wrong_at[i / 1000] = run.wrong;
    }
  }
  run.requests = requests;
  run.late = static_cast<double>(late_hits) / static_cast<double>(std::max<std::size_t>(requests / 5, 1));
  return run;
}

}  // namespace promptcache::laws
