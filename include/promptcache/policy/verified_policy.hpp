#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "promptcache/embed/embedder.hpp"
#include "promptcache/policy/evidence_model.hpp"

namespace promptcache {

/// What the share of wrong hits is a share of.
enum class BoundOver {
  hits,      ///< wrong hits among hits
  requests,  ///< wrong hits among all requests that had a candidate, vCache's promise (arXiv 2502.03771)
};

/// A score proven elsewhere, on pairs drawn as deployed (`choose_threshold`, eval/hit_bound.hpp).
struct CertifiedScore {
  double probability = 1;           ///< of the evidence model; served are candidates at least as probable
  std::size_t hits = 0, wrong = 0;  ///< among the pairs, for logs
};

struct VerifiedPolicyOptions {
  double epsilon = 0.02;     ///< accepted share of wrong hits, in (0, 1)
  double confidence = 0.95;  ///< of every bound, in (0, 1)
  BoundOver over = BoundOver::hits;
  /// Wrong hits beyond the share that are allowed whatever happens: at every n, wrong hits <= epsilon n + slack. Over
  /// hits it must leave room to begin: at least `VerifiedPolicy::least_slack`. Default: 20, or twice
  /// that if it is more; over requests 0.
  std::optional<double> slack = {};
  /// When the account is used up, prove all again and go on, with the slack granted anew; otherwise stop serving.
  bool renew = true;
  double audit_start = 0.5;   ///< share of the candidates it takes that are audited at first; an audit is no hit
  double audit_floor = 0.05;  ///< and in the end; never less, else drift goes unseen
  double exploration = 1;     ///< share of the candidates it refuses that are judged; costs a judgement, no computation
  /// Verdicts until a level that is right often enough is closed by mistake, at least, on average. Over hits only.
  double false_alarm_after = 1000;
  std::size_t max_pending = 1024;     ///< verdicts awaited; the oldest beyond that count as missing
  std::size_t max_entries = 1000000;  ///< entries of which verdicts are remembered, about 150 bytes each
  std::optional<CertifiedScore> certified = {};
};

/// What a `VerifiedPolicy` has counted and can promise now.
struct VerifiedStatus {
  std::uint64_t requests = 0, hits = 0;
  std::uint64_t audits = 0;          ///< of candidates it had taken: each cost a computation
  std::uint64_t audits_wrong = 0;    ///< of these, found wrong or missing
  std::uint64_t explored = 0;        ///< refused candidates of which a verdict was asked
  std::uint64_t pending = 0;         ///< verdicts awaited
  std::uint64_t alarms = 0;          ///< levels closed because they seemed to have become worse
  std::uint64_t renewals = 0;        ///< times the account was used up
  double wrong_bound = 0;            ///< of the number of wrong hits so far, with `confidence`, at all times together
  double slack = 0;                  ///< granted in all
  double audit_probability = 0;      ///< of the next candidate that it takes
  std::optional<double> open_score;  ///< candidates of this score are served; none: nothing is
};

/// Serves so that the share of wrong hits stays below `epsilon`, and proves it with audits: of the candidates it would
/// serve, a random share is computed anyway and a judge compares. Audited requests are no hits.
///
/// 1. Whatever the requests and their order, an adversary's included: with `confidence`, at all times together, the
///    number of wrong hits (and the sum of their probabilities) is at most `status().wrong_bound`, and at most
///    epsilon hits + slack, each renewal granting the slack once more. `Decision.bound` is wrong_bound / hits.
/// 2. A level of score is opened only when verdicts have proven, with `confidence` over all levels, that candidates
///    above it were wrong at a rate below epsilon. While they do not become worse, the promise holds from the first
///    hit.
///
/// "Wrong" is what the judge says; nothing is promised about what it does not see. Derivations: docs/bounds.md. The
/// model and what is known of single entries order the candidates and choose the audits; the bounds need neither.
///
/// Thread-safe; `decide` and `record` take a lock for about a microsecond. Equal states and equal calls in equal order
/// give equal decisions to the last bit.
///
///     auto policy = VerifiedPolicy::open("models/tuned", *embedder, {.epsilon = 0.02});
class VerifiedPolicy : public CachePolicy {
 public:
  /// Throws `Error(usage)` for options out of range or no model.
  VerifiedPolicy(std::shared_ptr<const EvidenceModel> model, const VerifiedPolicyOptions& options);
  ~VerifiedPolicy() override;

  /// lambda and c of a model directory's promptcache.json; with a threshold that pc-calibrate verified for epsilon and
  /// confidence, service starts at once. Throws `Error`: what `ModelDirectory::open` throws; not_found without lambda
  /// and c; mismatch when they were calibrated with another embedder than this one.
  static std::shared_ptr<VerifiedPolicy> open(const std::string& model_directory, const Embedder& embedder,
                                              const VerifiedPolicyOptions& options);

  /// The least slack over hits with which anything is ever served.
  static double least_slack(const VerifiedPolicyOptions& options);

  Decision decide(const Evidence& evidence) const override;
  bool wants_pair_logit(const Evidence& evidence) const override;
  bool wants_guards() const override;
  bool audits() const override { return true; }
  void record(const Evidence& evidence, Decision& decision) override;
  void judged(std::uint64_t audit, Verdict verdict) override;

  /// Reports are no random sample: wrong ones lower an entry's score and can close levels, right ones do nothing.
  void observe(const Evidence& evidence, bool was_correct) override;

  std::string describe() const override;
  VerifiedStatus status() const;

  /// All that was learned, with version and checksum; `restore` continues bit for bit, the verdicts still out included
  /// (those that will not come are to be told as missing, see `forget_pending`).
  std::string state() const;

  /// Throws `Error` naming `place`: format for anything but a whole state of this version, mismatch for one of other
  /// options or another model. Then nothing has changed.
  void restore(std::string_view state, const std::string& place = "state of a VerifiedPolicy");

  void save(const std::string& path) const;  ///< Throws `Error(io)`; replaces the file whole or not at all.
  void load(const std::string& path);        ///< Throws what `read_file` and `restore` throw.

  /// Counts all verdicts that are out as missing: after a restart nobody will bring them.
  void forget_pending();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
