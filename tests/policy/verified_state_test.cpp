#include <bit>
#include <cmath>
#include <fstream>

#include "promptcache/base/file.hpp"
#include "support.hpp"
#include "verified_streams.hpp"

using namespace promptcache;
using test::evidence_of;
using test::make_verified;
using test::Stream;

namespace {

/// One call of a log.
struct Event {
  Evidence evidence;
  std::uint64_t judged = 0;  ///< not 0: a verdict, else a decision
  Verdict verdict = Verdict::right;
  bool report = false;
};

std::uint64_t bits(std::optional<double> value) { return value ? std::bit_cast<std::uint64_t>(*value) : 1; }

/// All that a decision says, as bits.
std::vector<std::uint64_t> bits(const Decision& d) {
  return {d.serve,
          static_cast<std::uint64_t>(d.reason),
          bits(d.similarity),
          bits(d.probability),
          bits(d.bound),
          bits(d.threshold),
          bits(d.audit_probability),
          d.audit};
}

std::vector<std::vector<std::uint64_t>> play(VerifiedPolicy& policy, const std::vector<Event>& events) {
  std::vector<std::vector<std::uint64_t>> decisions;
  for (const Event& event : events) {
    if (event.judged != 0) {
      policy.judged(event.judged, event.verdict);
    } else if (event.report) {
      policy.observe(event.evidence, false);
    } else {
      Decision decision = policy.decide(event.evidence);
      policy.record(event.evidence, decision);
      decisions.push_back(bits(decision));
    }
  }
  return decisions;
}

/// A log of requests, verdicts that come late and out of order, and reports.
std::vector<Event> some_events(std::size_t requests, std::uint64_t seed) {
  const auto policy = make_verified({.epsilon = 0.1});
  std::mt19937_64 random = base::generator(seed, 1);
  std::vector<Event> events;
  std::vector<std::uint64_t> open;
  for (std::size_t i = 0; i < requests; ++i) {
    Event event;
    event.evidence =
        evidence_of(1 + random() % 60, 0.6 + 0.4 * base::uniform_share(random), base::uniform_share(random));
    Decision decision = policy->decide(event.evidence);
    policy->record(event.evidence, decision);
    events.push_back(event);
    if (decision.audit != 0) open.push_back(decision.audit);
    while (open.size() > 10) {
      const std::size_t which = random() % open.size();
      Event verdict;
      verdict.judged = open[which];
      const double u = base::uniform_share(random);
      const bool bad_time = i > requests / 2 && i < requests / 2 + 200;
      verdict.verdict = u < (bad_time ? 0.6 : 0.01) ? Verdict::wrong : u > 0.995 ? Verdict::missing : Verdict::right;
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
      policy->judged(verdict.judged, verdict.verdict);
      events.push_back(verdict);
    }
    if (decision.serve && base::uniform_share(random) < 0.01) {
      Event report = event;
      report.report = true;
      policy->observe(report.evidence, false);
      events.push_back(report);
    }
  }
  return events;
}

}  // namespace

TEST_CASE("decisions replay to the last bit from a state and the log of what came after") {
  const std::vector<Event> events = some_events(4000, 1);
  const auto whole = make_verified({.epsilon = 0.1});
  const auto all = play(*whole, events);
  CHECK(whole->status().hits > 500);
  CHECK(whole->status().alarms + whole->status().renewals > 0);
  const auto again = make_verified({.epsilon = 0.1});
  CHECK(play(*again, events) == all);

  for (const std::size_t cut : {std::size_t{10}, events.size() / 3, events.size() / 2, events.size() - 100}) {
    const auto first = make_verified({.epsilon = 0.1});
    const auto middle = events.begin() + static_cast<std::ptrdiff_t>(cut);
    auto decisions = play(*first, {events.begin(), middle});
    const auto second = make_verified({.epsilon = 0.1});
    second->restore(first->state());
    CHECK(second->state() == first->state());
    const auto rest = play(*second, {middle, events.end()});
    decisions.insert(decisions.end(), rest.begin(), rest.end());
    CHECK(decisions == all);
    CHECK(second->state() == whole->state());
  }
}

TEST_CASE("a state comes through a file whole, and nothing else is taken for one") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("policy.state");
  const auto policy = make_verified({.epsilon = 0.1});
  play(*policy, some_events(300, 2));
  policy->save(path);
  const std::string state = read_file(path);
  CHECK(state == policy->state());
  const auto other = make_verified({.epsilon = 0.1});
  other->load(path);
  CHECK(other->state() == state);

  const auto refused = [&](const std::string& bytes, ErrorCode code, std::initializer_list<std::string> pieces) {
    test::require_error(code, pieces, [&] { other->restore(bytes, path); });
  };
  const std::size_t step = state.size() > 20000 ? state.size() / 2000 : 1;
  for (std::size_t size = 0; size < state.size(); size += size < 200 ? 1 : step) {
    refused(state.substr(0, size), ErrorCode::format, {path});
  }
  refused(state + "x", ErrorCode::format, {path, "torn"});
  for (std::size_t i = 0; i < state.size(); i += 97) {
    std::string flipped = state;
    flipped[i] = static_cast<char>(flipped[i] ^ 4);
    refused(flipped, ErrorCode::format, {path});
  }
  std::string version = state;
  version[28] = 2;
  refused(version, ErrorCode::format, {path, "version 2"});
  refused("{}", ErrorCode::format, {path, "something else"});
  CHECK(other->state() == state);  // nothing has changed

  test::require_error(ErrorCode::mismatch, {path, "0.05"}, [&] { make_verified({.epsilon = 0.05})->load(path); });
  test::require_error(ErrorCode::mismatch, {"platt"}, [&] {
    VerifiedPolicy(std::make_shared<PlattEvidence>(Calibration{0.04, 16}), {.epsilon = 0.1}).load(path);
  });
  test::require_error(ErrorCode::not_found, {"missing"}, [&] { other->load(directory.file("missing")); });
}

TEST_CASE("a model of evidence gives probabilities and its parameters") {
  const PlattEvidence model({0.05, 16});
  CHECK(model.probability(evidence_of(1, 0.8, 0)) == Approx(0.5));
  CHECK(std::isnan(model.probability(evidence_of(1, std::nan(""), 0))));
  CHECK(model.parameters().find("platt") != std::string::npos);
  test::require_error(ErrorCode::usage, {"lambda"}, [] { PlattEvidence({0, 16}); });
  test::require_error(ErrorCode::usage, {"c"}, [] { PlattEvidence({1, std::nan("")}); });
}
