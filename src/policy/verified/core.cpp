#include "policy/verified/core.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace promptcache::verified {
namespace {

// A wrong audit may use up at most this part of what the account has left; else audits become more likely.
constexpr double largest_step = 0.4;

// Each hit may be wrong with this part of epsilon and what earlier ones have left over, as far as estimates go. Less
// than all, so that the account, which counts the uncertainty in, is not used up.
constexpr double part_of_epsilon = 0.5;
constexpr double most_saved = 0.3;  // wrong hits

// Past this part of the way to an alarm audits are as likely as at first. Right verdicts alone bring it to 1 / epsilon
// at most.
constexpr double near_alarm = 0.02;

constexpr std::size_t first_requests = 64;  // fix the bins of the local rates

bool over_hits(const VerifiedPolicyOptions& options) { return options.over == BoundOver::hits; }

}  // namespace

Core::Core(std::shared_ptr<const EvidenceModel> model, const VerifiedPolicyOptions& options)
    : model_(std::move(model)),
      options_(options),
      slack_(*options.slack),
      account_(options.audit_start, options.audit_floor, 1 - options.confidence),
      levels_({options.epsilon, 1 - options.confidence, options.false_alarm_after, !over_hits(options)}),
      entries_(options.max_entries) {
  if (!options.certified) return;
  const double least = options.certified->probability;
  levels_.certify({entries_.score(0, least), least});
}

double Core::denominator(std::uint64_t more) const {
  return static_cast<double>((over_hits(options_) ? hits_ : requests_) + more);
}

/// Wrong hits allowed once one more candidate is served.
double Core::limit() const { return options_.epsilon * denominator(1) + slack_; }

/// The lowest rate that the account can bear; none when it bears no more hits.
std::optional<std::size_t> Core::audit_rate() const {
  const double limit = this->limit();
  if (levels_.alarm_of_current() > std::max(near_alarm * options_.false_alarm_after, 1 / options_.epsilon)) {
    return account_.bound(0) <= limit ? std::optional<std::size_t>(0) : std::nullopt;
  }
  for (std::size_t rate = Account::rate_count; rate-- > 0;) {
    const double left = limit - account_.bound(rate);
    if (left < 0) continue;
    if (rate == 0 || account_.bound_after_wrong(rate) - account_.bound(rate) <= largest_step * left) return rate;
  }
  return std::nullopt;
}

/// Whether a hit that is wrong with this probability fits in with those before. Steers only: it makes the mean over the
/// hits small from the first one on, where proofs are about all candidates of a level.
bool Core::affordable(double wrong) const {
  if (!over_hits(options_)) return true;
  if (!local_.ready()) return false;
  return wrong <= part_of_epsilon * options_.epsilon + saved_;
}

Core::Choice Core::choose(const Evidence& evidence) const {
  Choice choice;
  choice.candidate.model = model_->probability(evidence);
  choice.candidate.score = entries_.score(evidence.entry, choice.candidate.model);
  // Without a coin nothing can be audited, so nothing can be served either. (Written so that NaN fails.)
  if (!(evidence.coin >= 0 && evidence.coin < 1) || std::isnan(choice.candidate.score)) return choice;
  const Level* level = levels_.current();
  if (level != nullptr) choice.rate = audit_rate();
  choice.wrong = entries_.wrong(evidence.entry, local_.wrong(choice.candidate.model));
  choice.takes = choice.rate && level->holds(choice.candidate) && affordable(choice.wrong);
  if (choice.takes) {
    choice.probability = account_.rates()[*choice.rate];
  } else if (levels_.explorable(choice.candidate)) {
    choice.probability = options_.exploration;
  }
  choice.audit = evidence.coin < choice.probability;
  return choice;
}

void Core::fill(const Evidence& evidence, const Choice& choice, Decision& decision) const {
  decision.serve = choice.takes && !choice.audit;
  decision.reason = !choice.takes ? Reason::not_similar : choice.audit ? Reason::audited : Reason::similar;
  decision.similarity = evidence.similarity;
  decision.next_similarity = evidence.next_similarity;
  decision.probability = choice.candidate.score;
  decision.threshold = {};
  decision.audit_probability = choice.probability > 0 ? std::optional(choice.probability) : std::nullopt;
  const double bound =
      account_.bound(choice.takes ? *choice.rate : 0) / std::max(denominator(decision.serve ? 1 : 0), 1.0);
  decision.bound = bound < 1 ? std::optional(bound) : std::nullopt;
}

Decision Core::decide(const Evidence& evidence) const {
  Decision decision;
  fill(evidence, choose(evidence), decision);
  return decision;
}

void Core::record(const Evidence& evidence, Decision& decision) {
  use_up();
  const Choice choice = choose(evidence);
  fill(evidence, choice, decision);
  decision.audit = 0;
  ++requests_;
  if (choice.takes) account_.offer(*choice.rate);
  if (decision.serve) {
    ++hits_;
    saved_ = std::clamp(saved_ + part_of_epsilon * options_.epsilon - choice.wrong, 0.0, most_saved);
    reports_.observe(false, 1, options_.epsilon);
  }
  if (choice.audit) {
    Pending pending;
    pending.entry = evidence.entry;
    pending.candidate = choice.candidate;
    pending.probability = choice.probability;
    pending.tested = levels_.ready();
    if (choice.rate) {
      // While a level is served, candidates are audited at one of two probabilities; all shall count alike.
      pending.weight = std::min(account_.rates()[*choice.rate], options_.exploration) / choice.probability;
    }
    if (choice.takes) {
      pending.rate = choice.rate;
      account_.audit(*choice.rate);
      ++audits_;
    } else {
      ++explored_;
    }
    decision.audit = first_pending_ + pending_.size();
    pending_.push_back(pending);
    if (pending_.size() > options_.max_pending) judged(first_pending_, Verdict::missing);
  }
  if (std::isnan(choice.candidate.score)) return;
  levels_.count_request(choice.candidate.score);
  if (local_.ready()) return;
  first_.push_back(choice.candidate.model);
  if (first_.size() < first_requests) return;
  local_.fix(std::move(first_));
  first_.clear();
}

/// When what is known, and not only what is awaited, leaves no room for a hit, all is to be proven again.
void Core::use_up() {
  if (!over_hits(options_) || levels_.current() == nullptr) return;
  if (account_.bound(0) <= limit() || account_.bound_of_known(0) <= limit()) return;
  levels_.close_all();
  if (!options_.renew) return;
  ++renewals_;
  slack_ += *options_.slack;
}

void Core::judged(std::uint64_t audit, Verdict verdict) {
  if (audit < first_pending_ || audit - first_pending_ >= pending_.size()) return;
  Pending& pending = pending_[static_cast<std::size_t>(audit - first_pending_)];
  if (pending.verdict) return;
  pending.verdict = verdict;
  const bool wrong = verdict == Verdict::wrong || verdict == Verdict::missing;
  if (pending.rate) {
    if (wrong) {
      account_.found_wrong(*pending.rate);
      ++audits_wrong_;
    } else {
      account_.found_right(*pending.rate);
    }
  }
  // A missing verdict says nothing about the entry.
  if (verdict == Verdict::right || verdict == Verdict::wrong) {
    if (local_.ready()) entries_.observe(pending.entry, local_.wrong(pending.candidate.model), wrong);
    local_.observe(pending.candidate.model, wrong);
  }
  work_off();
}

void Core::work_off() {
  while (!pending_.empty() && pending_.front().verdict) {
    const Pending pending = pending_.front();
    pending_.pop_front();
    ++first_pending_;
    apply(pending);
  }
}

void Core::apply(const Pending& pending) {
  if (*pending.verdict == Verdict::cancelled || !pending.tested) return;
  const bool wrong = *pending.verdict != Verdict::right;
  if (levels_.observe(pending.candidate, wrong, pending.weight, pending.probability)) ++closings_;
}

void Core::reported_wrong(const Evidence& evidence) {
  const double probability = model_->probability(evidence);
  if (local_.ready() && !std::isnan(probability)) entries_.observe(evidence.entry, local_.wrong(probability), true);
  // The hit counted as right when it was served; only some wrong ones are reported, so their rate is no estimate, but
  // as many as that of epsilon are too many.
  reports_.observe(true, 1, options_.epsilon);
  if (reports_.sum() < options_.false_alarm_after) return;
  reports_.restart();
  if (levels_.close_current()) ++closings_;
}

void Core::forget_pending() {
  const std::uint64_t end = first_pending_ + pending_.size();
  for (std::uint64_t audit = first_pending_; audit < end; ++audit) judged(audit, Verdict::missing);
}

VerifiedStatus Core::status() const {
  VerifiedStatus status;
  status.requests = requests_;
  status.hits = hits_;
  status.audits = audits_;
  status.audits_wrong = audits_wrong_;
  status.explored = explored_;
  for (const Pending& pending : pending_) status.pending += pending.verdict ? 0 : 1;
  status.alarms = closings_;
  status.renewals = renewals_;
  status.wrong_bound = hits_ == 0 ? 0 : account_.bound();
  status.slack = slack_;
  const auto rate = audit_rate();
  status.audit_probability = rate ? account_.rates()[*rate] : 1;
  if (const Level* level = levels_.current(); level != nullptr && rate) status.open_score = level->score;
  return status;
}

void Core::save(StateWriter& writer) const {
  const Account::State account = account_.state();
  writer.add(account.lowest);
  for (const std::uint64_t count : account.wrong) writer.add(count);
  for (const std::uint64_t count : account.pending) writer.add(count);
  levels_.save(writer);
  local_.save(writer);
  writer.add(static_cast<std::uint64_t>(first_.size()));
  for (const double probability : first_) writer.add(probability);
  Alarm::numbers(reports_, [&](double number) { writer.add(number); });
  writer.add(saved_);
  writer.add(slack_);
  for (const std::uint64_t count : {requests_, hits_, audits_, audits_wrong_, explored_, renewals_, closings_}) {
    writer.add(count);
  }
  writer.add(first_pending_);
  writer.add(static_cast<std::uint64_t>(pending_.size()));
  for (const Pending& pending : pending_) {
    writer.add(pending.entry);
    writer.add(pending.candidate.score);
    writer.add(pending.candidate.model);
    writer.add(pending.weight);
    writer.add(pending.probability);
    writer.add(static_cast<std::uint64_t>(pending.rate ? *pending.rate + 1 : 0));
    writer.add(std::uint64_t{pending.tested});
    writer.add(static_cast<std::uint64_t>(pending.verdict ? static_cast<int>(*pending.verdict) + 1 : 0));
  }
  writer.add(static_cast<std::uint64_t>(entries_.by_age().size()));
  for (const EntryId entry : entries_.by_age()) {
    writer.add(entry);
    for (const double weight : entries_.weights(entry)) writer.add(weight);
  }
}

void Core::load(StateReader& reader) {
  Account::State account;
  account.lowest = reader.count(Account::rate_count - 1);
  for (std::uint64_t& count : account.wrong) count = reader.whole();
  for (std::uint64_t& count : account.pending) count = reader.whole();
  account_.restore(account);
  levels_.load(reader);
  local_.load(reader);
  first_.resize(reader.count(first_requests));
  for (double& probability : first_) probability = reader.number();
  Alarm::numbers(reports_, [&](double& number) { number = reader.number(); });
  saved_ = reader.number();
  slack_ = reader.number();
  for (std::uint64_t* count : {&requests_, &hits_, &audits_, &audits_wrong_, &explored_, &renewals_, &closings_}) {
    *count = reader.whole();
  }
  first_pending_ = reader.whole();
  pending_.resize(reader.count(options_.max_pending + 1));
  for (Pending& pending : pending_) {
    pending.entry = reader.whole();
    pending.candidate.score = reader.number();
    pending.candidate.model = reader.number();
    pending.weight = reader.number();
    pending.probability = reader.number();
    const std::size_t rate = reader.count(Account::rate_count);
    pending.rate = rate == 0 ? std::nullopt : std::optional(rate - 1);
    pending.tested = reader.whole() != 0;
    const std::size_t verdict = reader.count(4);
    pending.verdict = verdict == 0 ? std::nullopt : std::optional(static_cast<Verdict>(verdict - 1));
  }
  entries_.clear();
  const std::size_t entries = reader.count(options_.max_entries);
  for (std::size_t i = 0; i < entries; ++i) {
    const EntryId entry = reader.whole();
    Entries::Weights weights{};
    for (double& weight : weights) weight = reader.number();
    entries_.restore(entry, weights);
  }
  reader.end();
}

}  // namespace promptcache::verified
