#include "policy/verified/account.hpp"

#include <cmath>
#include <functional>
#include <random>

#include "base/random.hpp"
#include "policy/verified/rate_tests.hpp"
#include "support.hpp"

using promptcache::base::uniform_share;
using promptcache::verified::Account;
using promptcache::verified::Alarm;
using promptcache::verified::OpeningTest;

namespace {

/// The mean of the capital over all outcomes of `depth` candidates. The adversary's rate and probability of wrong may
/// depend on all that was before: on the number of wrong hits and of wrong audits.
struct Tree {
  std::function<std::size_t(int step, int wrong_hits, int wrong_audits)> rate;
  std::function<double(int step, int wrong_hits, int wrong_audits)> wrong;

  double mean(const Account& account, int depth, int step = 0, int wrong_hits = 0, int wrong_audits = 0) const {
    if (step == depth) return std::exp(account.log_capital(wrong_hits));
    const std::size_t r = rate(step, wrong_hits, wrong_audits);
    const double a = account.rates()[r];
    const double p = wrong(step, wrong_hits, wrong_audits);
    Account hit = account;
    hit.offer(r);
    Account bad = hit;
    bad.audit(r);
    Account good = bad;
    bad.found_wrong(r);
    good.found_right(r);
    double sum = 0;
    if (p > 0) sum += (1 - a) * p * mean(hit, depth, step + 1, wrong_hits + 1, wrong_audits);
    if (p < 1) sum += (1 - a) * (1 - p) * mean(hit, depth, step + 1, wrong_hits, wrong_audits);
    if (p > 0) sum += a * p * mean(bad, depth, step + 1, wrong_hits, wrong_audits + 1);
    if (p < 1) sum += a * (1 - p) * mean(good, depth, step + 1, wrong_hits, wrong_audits);
    return sum;
  }
};

}  // namespace

TEST_CASE("the capital of an account is a supermartingale against every adversary, over whole trees of outcomes") {
  const Account fresh(0.5, 0.05, 0.05);
  CHECK(std::exp(fresh.log_capital(0)) == Approx(1));

  SECTION("at one rate, a martingale") {
    for (const double p : {0.0, 0.02, 0.3, 1.0}) {
      const Tree tree{[](int, int, int) { return 0; }, [&](int, int, int) { return p; }};
      CHECK(tree.mean(fresh, 5) == Approx(1));
    }
    const Tree adaptive{[](int, int, int) { return 0; },
                        [](int step, int hits, int audits) { return step > 1 && audits == 0 ? 0.9 : 0.1 * hits; }};
    CHECK(adaptive.mean(fresh, 5) == Approx(1));
  }
  SECTION("at rates that fall, bets that a rate does not bear are gone before it is used") {
    for (const double p : {0.0, 0.1, 0.5, 1.0}) {
      const Tree tree{[](int step, int, int) { return std::min<std::size_t>(static_cast<std::size_t>(2 * step), 7); },
                      [&](int, int, int) { return p; }};
      CHECK(tree.mean(fresh, 5) <= 1 + 1e-9);
    }
    const Tree adaptive{[](int, int hits, int audits) {
                          return audits > 0 ? std::size_t{0} : hits > 0 ? std::size_t{7} : std::size_t{3};
                        },
                        [](int step, int, int) { return step % 2 == 0 ? 1.0 : 0.2; }};
    CHECK(adaptive.mean(fresh, 5) <= 1 + 1e-9);
  }
}

TEST_CASE("the bound is the root of the capital, and verdicts take back exactly what their audits put in") {
  Account account(0.5, 0.05, 0.05);
  CHECK(account.log_capital(account.bound()) == Approx(std::log(20)).epsilon(1e-6));
  const double before = account.bound();
  account.offer(2);
  const double lowered = account.bound();
  CHECK(lowered >= before);
  account.audit(2);
  CHECK(account.bound() > lowered);
  CHECK(account.bound() == account.bound_after_wrong(2) - (account.bound_after_wrong(2) - account.bound()));
  CHECK(account.bound_of_known(2) == lowered);
  CHECK(account.log_capital(account.bound()) == Approx(std::log(20)).epsilon(1e-6));
  account.found_right(2);
  CHECK(account.bound() == lowered);
  const double foretold = account.bound_after_wrong(2);
  account.audit(2);
  account.found_wrong(2);
  CHECK(account.bound() == foretold);
  CHECK(account.wrong() == 1);
  CHECK(account.pending() == 0);
  Account again(0.5, 0.05, 0.05);
  again.restore(account.state());
  CHECK(again.bound() == account.bound());
  CHECK(Account(0.3, 0.3, 0.05).bound() > 0);  // one rate only
}

TEST_CASE("wrong hits exceed the bound at some time in no more than delta of the runs") {
  constexpr double delta = 0.2;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int runs = 200;
#else
  constexpr int runs = 1000;
#endif
  // Steady, all wrong from a moment on, and one who stops as soon as it has been lucky.
  const std::function<double(int, double, int)> worlds[] = {
      [](int, double, int) { return 0.05; }, [](int step, double, int) { return step > 60 ? 0.8 : 0.01; },
      [](int, double hits, int audits) { return hits > 3 + 2 * audits ? 0.0 : 0.9; }};
  for (const auto& world : worlds) {
    int broken = 0;
    for (int run = 0; run < runs; ++run) {
      std::mt19937_64 random = promptcache::base::generator(7, static_cast<std::uint64_t>(run));
      Account account(0.5, 0.1, delta);
      double sum = 0;
      int wrong_hits = 0, wrong_audits = 0;
      bool kept = true;
      for (int step = 0; step < 150 && kept; ++step) {
        const double p = world(step, wrong_hits, wrong_audits);
        const std::size_t rate =
            step < 50 ? 0 : std::min<std::size_t>(Account::rate_count - 1, wrong_audits < 4 ? 7 : 3);
        account.offer(rate);
        const bool wrong = uniform_share(random) < p;
        if (uniform_share(random) < account.rates()[rate]) {
          account.audit(rate);
          wrong ? account.found_wrong(rate) : account.found_right(rate);
          wrong_audits += wrong ? 1 : 0;
        } else {
          sum += p;
          wrong_hits += wrong ? 1 : 0;
        }
        kept = wrong_hits <= account.bound() && sum <= account.bound();
      }
      broken += kept ? 0 : 1;
    }
    // Two promises at once, each with delta; four standard deviations.
    const double most = 2 * delta + 4 * std::sqrt(2 * delta / runs);
    INFO(broken);
    CHECK(broken <= most * runs);
  }
}

TEST_CASE("evidence for opening grows to 1 / alpha by chance with probability alpha at most") {
  constexpr double epsilon = 0.2;
  SECTION("its mean over all outcomes is 1 where the rate is epsilon, less where it is higher") {
    const std::function<double(const OpeningTest&, int, double)> mean = [&](const OpeningTest& test, int left,
                                                                            double p) {
      if (left == 0) return test.capital();
      OpeningTest wrong = test, right = test;
      // Two kinds of candidates: audited with q = 1/2 (weight 1) and with q = 1 (weight 1/2).
      OpeningTest wrong_half = test, right_half = test;
      wrong.observe(true, 1, epsilon);
      right.observe(false, 1, epsilon);
      wrong_half.observe(true, 0.5, epsilon);
      right_half.observe(false, 0.5, epsilon);
      // The one kind is worse than the other, the mean rate is p.
      const double first = std::min(1.0, 1.5 * p), second = 2 * p - first;
      return 0.5 * (0.5 * (first * mean(wrong, left - 1, p) + (1 - first) * mean(right, left - 1, p)) +
                    0.5 * mean(test, left - 1, p)) +
             0.5 * (second * mean(wrong_half, left - 1, p) + (1 - second) * mean(right_half, left - 1, p));
    };
    CHECK(mean(OpeningTest(), 4, epsilon) == Approx(1));
    CHECK(mean(OpeningTest(), 4, 0.4) < 1);
    CHECK(mean(OpeningTest(), 4, 0.1) > 1);
  }
  SECTION("looking at all times") {
    constexpr int runs = 2000;
    constexpr double alpha = 0.1;
    int opened = 0;
    for (int run = 0; run < runs; ++run) {
      std::mt19937_64 random = promptcache::base::generator(3, static_cast<std::uint64_t>(run));
      OpeningTest test;
      bool open = false;
      for (int i = 0; i < 300 && !open; ++i) {
        test.observe(uniform_share(random) < epsilon, 1, epsilon);
        open = test.capital() >= 1 / alpha;
      }
      opened += open ? 1 : 0;
    }
    INFO(opened);
    CHECK(opened <= runs * alpha + 4 * std::sqrt(runs * alpha));
    CHECK(opened > 0);
  }
  SECTION("a bad time does not spoil it for ever") {
    OpeningTest test;
    for (int i = 0; i < 500; ++i) test.observe(i % 2 == 0, 1, 0.02);
    for (int i = 0; i < 900; ++i) test.observe(false, 1, 0.02);
    CHECK(test.capital() > 20);
  }
}

TEST_CASE("an alarm comes soon when the rate is far above epsilon, and seldom at epsilon") {
  const auto time_to_alarm = [](double rate, double limit, std::uint64_t seed) {
    std::mt19937_64 random = promptcache::base::generator(5, seed);
    Alarm alarm;
    int verdicts = 0;
    do {
      alarm.observe(uniform_share(random) < rate, 1, 0.1);
      ++verdicts;
    } while (alarm.sum() < limit);
    return verdicts;
  };
  double at_epsilon = 0, above = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    at_epsilon += time_to_alarm(0.1, 100, seed) / 300.0;
    above += time_to_alarm(0.8, 100, seed) / 300.0;
  }
  CHECK(at_epsilon >= 100);
  CHECK(above < 8);
}
