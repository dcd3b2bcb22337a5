#include "promptcache/eval/sample_bounds.hpp"

#include <cmath>
#include <string>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

const double log_2 = std::log(2.0);

void check(double value, double limit, double log_class_size, double delta) {
  if (value > 0 && limit > 0 && log_class_size >= 0 && delta > 0 && delta < 1) return;
  throw Error(ErrorCode::usage, {"sample bound"},
              std::to_string(value) + " pairs (or error), B " + std::to_string(limit) + ", log of the class " +
                  std::to_string(log_class_size) + ", delta " + std::to_string(delta),
              "numbers above 0, and delta below 1");
}

double fourth_root_term(double pairs, double logarithm) { return std::pow(logarithm / (2 * pairs), 0.25); }

}  // namespace

double log_probability_limit(const Calibration& head) { return 1 / head.lambda + std::abs(head.offset) + log_2; }

double log_class_size_of_weights(double parameters, double bits) { return bits * parameters * log_2; }

double bound_bce(double pairs, double limit, double log_class_size, double delta) {
  check(pairs, limit, log_class_size, delta);
  return std::sqrt(limit) * fourth_root_term(pairs, log_class_size + log_2 - std::log(delta));
}

double bound_sld(double pairs, double limit, double log_class_size, double delta) {
  check(pairs, limit, log_class_size, delta);
  return limit * fourth_root_term(pairs, log_class_size - std::log(delta));
}

double pairs_for_bound_bce(double error, double limit, double log_class_size, double delta) {
  check(error, limit, log_class_size, delta);
  return limit * limit * (log_class_size + log_2 - std::log(delta)) / (2 * std::pow(error, 4));
}

double pairs_for_bound_sld(double error, double limit, double log_class_size, double delta) {
  check(error, limit, log_class_size, delta);
  return std::pow(limit, 4) * (log_class_size - std::log(delta)) / (2 * std::pow(error, 4));
}

}  // namespace promptcache
