#include "promptcache/pairs/label_audit.hpp"

#include <cmath>
#include <limits>
#include <random>

#include "support.hpp"

namespace {

using namespace promptcache;
using Counts = std::array<std::array<std::size_t, 2>, 2>;

constexpr double none = std::numeric_limits<double>::quiet_NaN();

double kappa_of(const double (&p)[2][2]) {
  const double observed = p[0][0] + p[1][1];
  const double expected = (p[0][0] + p[0][1]) * (p[0][0] + p[1][0]) + (p[1][0] + p[1][1]) * (p[0][1] + p[1][1]);
  return (observed - expected) / (1 - expected);
}

/// Variance by the delta method: gradient by central differences, times the covariance of multinomial shares.
double delta_variance(const Counts& counts) {
  double p[2][2], n = 0, gradient[4];
  for (int c = 0; c < 4; ++c) n += static_cast<double>(counts[c / 2][c % 2]);
  for (int c = 0; c < 4; ++c) p[c / 2][c % 2] = static_cast<double>(counts[c / 2][c % 2]) / n;
  for (int c = 0; c < 4; ++c) {
    constexpr double step = 1e-6;
    double& cell = p[c / 2][c % 2];
    const double old = cell;
    cell = old + step;
    const double above = kappa_of(p);
    cell = old - step;
    gradient[c] = (above - kappa_of(p)) / (2 * step);
    cell = old;
  }
  double mean = 0, square = 0;
  for (int c = 0; c < 4; ++c) {
    mean += p[c / 2][c % 2] * gradient[c];
    square += p[c / 2][c % 2] * gradient[c] * gradient[c];
  }
  return (square - mean * mean) / n;
}

}  // namespace

TEST_CASE("kappa of tables worked out by hand") {
  // 50 proposals: both yes 20, first alone 5, second alone 10, both no 15: observed .7, expected .5.
  const Agreement textbook = agreement_of({{{15, 10}, {5, 20}}});
  CHECK(textbook.pairs() == 50);
  CHECK(textbook.share == Approx(0.7));
  CHECK(textbook.kappa == Approx(0.4));
  // Standard error .1269961 by Fleiss's other form of the formula, (A + B - C) / (n (1 - expected)^2).
  CHECK(textbook.kappa_low == Approx(0.1510923).epsilon(1e-6));
  CHECK(textbook.kappa_high == Approx(0.6489077).epsilon(1e-6));

  const Agreement full = agreement_of({{{7, 0}, {0, 3}}});
  CHECK(full.share == 1);
  CHECK(full.kappa == Approx(1));
  CHECK(full.kappa_low == Approx(1));
  CHECK(full.kappa_high <= 1);
  const Agreement opposite = agreement_of({{{0, 5}, {5, 0}}});
  CHECK(opposite.kappa == Approx(-1));
  const Agreement chance = agreement_of({{{25, 25}, {25, 25}}});
  CHECK(chance.kappa == Approx(0).margin(1e-12));
  CHECK(chance.kappa_low < 0);
  CHECK(chance.kappa_high > 0);
}

TEST_CASE("kappa that is undefined") {
  for (const Counts& counts : {Counts{{{0, 0}, {0, 0}}}, Counts{{{9, 0}, {0, 0}}}, Counts{{{0, 0}, {0, 9}}}}) {
    const Agreement agreement = agreement_of(counts);
    CHECK(std::isnan(agreement.kappa));
    CHECK(std::isnan(agreement.kappa_low));
    CHECK(std::isnan(agreement.share) == (agreement.pairs() == 0));
  }
  // One judge always says no, the other not: kappa is 0, not undefined.
  for (const Counts& counts : {Counts{{{9, 1}, {0, 0}}}, Counts{{{0, 9}, {0, 1}}}, Counts{{{0, 9}, {0, 0}}}}) {
    CHECK(agreement_of(counts).kappa == Approx(0).margin(1e-12));
    CHECK(std::isnan(agreement_of(counts).kappa_low));
    CHECK(std::isnan(agreement_of(counts).kappa_high));
  }
}

TEST_CASE("the interval of kappa is that of the delta method") {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    Counts counts{};
    for (auto& row : counts) {
      for (std::size_t& cell : row) cell = 1 + random() % 200;
    }
    const Agreement agreement = agreement_of(counts);
    const double half = 1.959963984540054 * std::sqrt(delta_variance(counts));
    CHECK(agreement.kappa_low == Approx(std::max(-1.0, agreement.kappa - half)).epsilon(1e-6));
    CHECK(agreement.kappa_high == Approx(std::min(1.0, agreement.kappa + half)).epsilon(1e-6));
  }
}

TEST_CASE("an audit counts what either side has not judged, and has bands of equal size") {
  std::vector<double> human, teacher, similarities;
  for (int i = 0; i < 103; ++i) {
    similarities.push_back((i * 37 % 103) / 103.0);
    human.push_back(i % 3 == 0 ? 1 : 0.25);
    teacher.push_back(similarities.back() > 0.5 ? human.back() : 1 - human.back());
  }
  teacher[0] = teacher[1] = none;
  human[2] = none;
  human[3] = teacher[3] = none;
  similarities[4] = none;
  const LabelAudit audit = audit_labels(human, teacher, similarities, 5);
  CHECK(audit.unanswered == 2);
  CHECK(audit.without_human == 2);
  CHECK(audit.all.pairs() == 99);
  REQUIRE(audit.bands.size() == 5);
  std::size_t pairs = 0;
  for (std::size_t b = 0; b < 5; ++b) {
    const LabelAudit::Band& band = audit.bands[b];
    pairs += band.agreement.pairs();
    CHECK((band.agreement.pairs() == 19 || band.agreement.pairs() == 20));
    CHECK(band.low <= band.high);
    if (b > 0) CHECK(audit.bands[b - 1].high <= band.low);
    if (band.low > 0.5) CHECK(band.agreement.share == 1);
    if (band.high <= 0.5) CHECK(band.agreement.share == 0);
  }
  CHECK(pairs == 98);
  CHECK(audit_labels(human, teacher).bands.empty());
  CHECK(audit_labels(std::vector<double>{1, 0}, std::vector<double>{1, 1}, std::vector<double>{.1, .2}).bands.size() ==
        2);
  CHECK(audit_labels({}, {}).all.pairs() == 0);
  test::require_error(ErrorCode::usage, {"103", "1"}, [&] { audit_labels(human, std::vector<double>{1}); });
  test::require_error(ErrorCode::usage, {"103", "1"}, [&] { audit_labels(human, teacher, std::vector<double>{1}); });
}
