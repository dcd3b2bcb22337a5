#include "promptcache/policy/per_entry_policy.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/brief_mutex.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr std::size_t fewest_verdicts = 6;
constexpr std::size_t grid = 50;

/// The standard normal quantile, by Newton's method on the distribution function.
double normal_quantile(double p) {
  double x = 0;
  for (int i = 0; i < 60; ++i) {
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
    const double step = (0.5 * std::erfc(-x / std::sqrt(2.0)) - p) / std::max(density, 1e-12);
    x -= std::clamp(step, -1.0, 1.0);
  }
  return x;
}

const std::array<double, grid>& quantiles() {
  static const std::array<double, grid> values = [] {
    std::array<double, grid> q{};
    for (std::size_t i = 0; i < grid; ++i) q[i] = normal_quantile(1 - (static_cast<double>(i) + 0.5) / grid);
    return q;
  }();
  return values;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// What an entry's verdicts say: P(right | s) = sigma(gamma (s - t)).
struct Fit {
  bool usable = false;
  double gamma = 0, t = 0, sd = 0;
};

struct Seen {
  double similarity = 0;
  bool right = false;
};

Fit fit_separated(double least_right, double most_wrong, std::size_t rights) {
  double margin = (1 - least_right) / static_cast<double>(rights + 1);
  margin = std::clamp(margin, 1e-3, std::max((least_right - most_wrong) / 2, 1e-3));
  return {true, 4 / margin, least_right - margin, margin};
}

/// Maximum likelihood by Newton's method, the variance of t by the delta method.
Fit fit(const std::vector<Seen>& seen) {
  double least_right = 2;
  double most_wrong = -2;
  std::size_t rights = 0;
  for (const Seen& each : seen) {
    rights += each.right ? 1 : 0;
    if (each.right) least_right = std::min(least_right, each.similarity);
    if (!each.right) most_wrong = std::max(most_wrong, each.similarity);
  }
  if (rights == 0) return {};
  if (least_right > most_wrong) return fit_separated(least_right, most_wrong, rights);
  double mean = 0;
  for (const Seen& each : seen) mean += each.similarity / static_cast<double>(seen.size());
  double a = 0;
  double b = 0;
  double aa = 0, ab = 0, bb = 0, determinant = 0;
  for (int i = 0; i < 50; ++i) {
    double ga = 0;
    double gb = 0;
    aa = ab = bb = 0;
    for (const Seen& each : seen) {
      const double x = each.similarity - mean;
      const double p = sigmoid(a + b * x);
      const double weight = std::max(p * (1 - p), 1e-9);
      ga += (each.right ? 1 : 0) - p;
      gb += ((each.right ? 1 : 0) - p) * x;
      aa += weight;
      ab += weight * x;
      bb += weight * x * x;
    }
    determinant = aa * bb - ab * ab;
    if (!(determinant > 1e-14)) return {};  // one similarity only
    const double da = (bb * ga - ab * gb) / determinant;
    const double db = (aa * gb - ab * ga) / determinant;
    const double scale = std::min(1.0, 5 / (std::abs(da) + 1e-12));
    a += scale * da;
    b += scale * db;
    if (std::abs(da) + std::abs(db) < 1e-9 * (1 + std::abs(a) + std::abs(b))) break;
  }
  if (!(b > 0) || !std::isfinite(a)) return {};
  const double u = -a / b;  // t, from the mean
  const double variance = (bb / determinant - 2 * u * ab / determinant + u * u * aa / determinant) / (b * b);
  return {true, b, mean + u, std::sqrt(std::max(variance, 0.0))};
}

}  // namespace

struct PerEntryPolicy::Impl {
  struct Entry {
    std::vector<Seen> seen;
    Fit fit;
  };

  /// Probability of exploring.
  double exploration(const Evidence& evidence) const {
    const auto found = entries.find(evidence.entry);
    if (found == entries.end() || found->second.seen.size() < fewest_verdicts || !found->second.fit.usable) return 1;
    const Fit& fit = found->second.fit;
    double least = 1;
    for (std::size_t i = 0; i < grid; ++i) {
      const double e = (static_cast<double>(i) + 0.5) / grid;
      const double alpha = (1 - e) * sigmoid(fit.gamma * (evidence.similarity - fit.t - quantiles()[i] * fit.sd));
      least = std::min(least, 1 - delta / (1 - alpha));
    }
    return std::max(least, 0.0);
  }

  Decision decide(const Evidence& evidence) const {
    Decision decision;
    decision.similarity = evidence.similarity;
    decision.next_similarity = evidence.next_similarity;
    const double probability = exploration(evidence);
    const bool drawn = evidence.coin >= 0 && evidence.coin < 1 && !std::isnan(evidence.similarity);
    decision.serve = drawn && evidence.coin >= probability;
    decision.audit_probability = probability;
    decision.reason = decision.serve ? Reason::similar : Reason::audited;
    return decision;
  }

  double delta = 0;
  mutable BriefMutex mutex;
  std::unordered_map<EntryId, Entry> entries;
  std::unordered_map<std::uint64_t, std::pair<EntryId, double>> pending;
  std::uint64_t audits = 0;
};

PerEntryPolicy::PerEntryPolicy(double delta) : impl_(std::make_unique<Impl>()) {
  if (!(delta > 0 && delta < 1)) {
    throw Error(ErrorCode::usage, {"delta"}, std::to_string(delta), "a share between 0 and 1");
  }
  impl_->delta = delta;
  quantiles();  // not under the lock
}

PerEntryPolicy::~PerEntryPolicy() = default;

Decision PerEntryPolicy::decide(const Evidence& evidence) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->decide(evidence);
}

void PerEntryPolicy::record(const Evidence& evidence, Decision& decision) {
  const std::lock_guard lock(impl_->mutex);
  const Decision now = impl_->decide(evidence);
  decision.serve = now.serve;
  decision.reason = now.reason;
  decision.audit_probability = now.audit_probability;
  decision.audit = 0;
  if (now.serve || std::isnan(evidence.similarity)) return;
  decision.audit = ++impl_->audits;
  impl_->pending.emplace(decision.audit, std::pair(evidence.entry, evidence.similarity));
}

void PerEntryPolicy::judged(std::uint64_t audit, Verdict verdict) {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->pending.find(audit);
  if (found == impl_->pending.end()) return;
  const auto [id, similarity] = found->second;
  impl_->pending.erase(found);
  if (verdict != Verdict::right && verdict != Verdict::wrong) return;
  Impl::Entry& entry = impl_->entries[id];
  entry.seen.push_back({similarity, verdict == Verdict::right});
  if (entry.seen.size() >= fewest_verdicts) entry.fit = fit(entry.seen);
}

std::string PerEntryPolicy::describe() const {
  char text[96];
  std::snprintf(text, sizeof(text), "per entry: at most %.4g wrong hits of requests, each entry from its own verdicts",
                impl_->delta);
  return text;
}

}  // namespace promptcache
