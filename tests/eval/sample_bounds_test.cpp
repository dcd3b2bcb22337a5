#include "promptcache/eval/sample_bounds.hpp"

#include <array>
#include <cmath>
#include <vector>

#include "eval/resampling.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

constexpr std::size_t dimension = 8;
constexpr std::size_t candidates = 256;
using Vector = std::array<double, dimension>;

Vector unit_vector(RandomStream& random) {
  Vector vector{};
  double square = 0;
  for (double& x : vector) {
    x = random.normal();
    square += x * x;
  }
  for (double& x : vector) x /= std::sqrt(square);
  return vector;
}

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < dimension; ++i) sum += a[i] * b[i];
  return sum;
}

double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

/// A class of encoders that contains the truth: each candidate's similarity of a pair, given by a random feature, is a
/// cosine. The first candidates are close to the truth, which makes them hard to tell from it.
struct World {
  Calibration head{0.2, 1};
  std::vector<Vector> thetas;
  std::size_t truth = 0;
  RandomStream random;

  explicit World(std::uint64_t seed) : random(seed, 0) {
    const Vector centre = unit_vector(random);
    for (std::size_t i = 0; i < candidates; ++i) {
      const Vector away = unit_vector(random);
      Vector theta{};
      const double distance = 2.0 * static_cast<double>(i) / candidates;
      double square = 0;
      for (std::size_t j = 0; j < dimension; ++j) {
        theta[j] = centre[j] + distance * away[j];
        square += theta[j] * theta[j];
      }
      for (double& x : theta) x /= std::sqrt(square);
      thetas.push_back(theta);
    }
  }

  double z(std::size_t candidate, const Vector& feature) const {
    return dot(thetas[candidate], feature) / head.lambda - head.offset;
  }

  /// E|P^ - P*| of a candidate, on fresh pairs.
  double error(std::size_t candidate) {
    double sum = 0;
    constexpr int fresh = 2000;
    for (int i = 0; i < fresh; ++i) {
      const Vector feature = unit_vector(random);
      sum += std::abs(1 / (1 + std::exp(-z(candidate, feature))) - 1 / (1 + std::exp(-z(truth, feature))));
    }
    return sum / fresh;
  }
};

std::size_t best_of(const std::vector<double>& losses) {
  return static_cast<std::size_t>(std::min_element(losses.begin(), losses.end()) - losses.begin());
}

}  // namespace

TEST_CASE("the bounds are the formulas, and the pairs they need undo them") {
  const Calibration head{0.01, 88};
  const double limit = log_probability_limit(head);
  CHECK(limit == Approx(188.6931));
  CHECK(log_probability_limit({0.01, -88}) == Approx(188.6931));
  const double log_class = std::log(256.0);
  CHECK(bound_bce(1024, 9, log_class, 0.05) == Approx(3 * std::pow(std::log(2 * 256 / 0.05) / 2048, 0.25)));
  CHECK(bound_sld(1024, 9, log_class, 0.05) == Approx(9 * std::pow(std::log(256 / 0.05) / 2048, 0.25)));
  CHECK(bound_bce(pairs_for_bound_bce(0.5, 9, log_class, 0.05), 9, log_class, 0.05) == Approx(0.5));
  CHECK(bound_sld(pairs_for_bound_sld(0.3, 9, log_class, 0.05), 9, log_class, 0.05) == Approx(0.3));
  // An encoder of 22.7 million floats: the class is so large that the bound says nothing.
  const double weights = log_class_size_of_weights(22.7e6);
  CHECK(weights == Approx(32 * 22.7e6 * std::log(2.0)));
  CHECK(bound_bce(26167, limit, weights, 0.05) > 100);
  test::require_error(ErrorCode::usage, {"sample bound"}, [] { bound_bce(0, 9, 1, 0.05); });
  test::require_error(ErrorCode::usage, {"delta"}, [] { bound_sld(10, 9, 1, 1); });
}

TEST_CASE("where the truth is in the class, the error stays under the bound at every number of pairs") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int last_power = 12;
  constexpr std::uint64_t worlds = 1;
#else
  constexpr int last_power = 16;
  constexpr std::uint64_t worlds = 3;
#endif
  const double log_class = std::log(static_cast<double>(candidates));
  double largest_error = 0;
  for (std::uint64_t seed = 1; seed <= worlds; ++seed) {
    World world(seed);
    const double limit = log_probability_limit(world.head);
    std::vector<double> bce(candidates), sld(candidates);
    std::size_t pairs = 0;
    for (int power = 6; power <= last_power; ++power) {
      for (; pairs < (std::size_t{1} << power); ++pairs) {
        const Vector feature = unit_vector(world.random);
        const double true_z = world.z(world.truth, feature);
        const double label = world.random.uniform() < 1 / (1 + std::exp(-true_z)) ? 1 : 0;
        const double true_log = -softplus(-true_z);  // SLD is taught the probability itself
        for (std::size_t candidate = 0; candidate < candidates; ++candidate) {
          const double z = world.z(candidate, feature);
          const double log_p = -softplus(-z);
          bce[candidate] -= label * log_p + (1 - label) * (log_p - z);  // log(1 - P) = log P - z
          sld[candidate] += (log_p - true_log) * (log_p - true_log);
        }
      }
      const auto n = static_cast<double>(pairs);
      const double bce_error = world.error(best_of(bce));
      const double sld_error = world.error(best_of(sld));
      INFO(pairs << " pairs: BCE " << bce_error << ", SLD " << sld_error);
      CHECK(bce_error <= bound_bce(n, limit, log_class, 0.05));
      CHECK(sld_error <= bound_sld(n, limit, log_class, 0.05));
      largest_error = std::max(largest_error, bce_error);
      // What the derivation is made of: by Pinsker twice the squared error is at most the excess risk, which is
      // bounded.
      CHECK(2 * bce_error * bce_error <= 2 * limit * std::sqrt(std::log(2 * candidates / 0.05) / (2 * n)));
    }
  }
  CHECK(largest_error > 0.01);  // with few pairs the minimiser is not the truth
}
