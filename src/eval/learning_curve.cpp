#include "promptcache/eval/learning_curve.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>

#include "eval/resampling.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache {
namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
constexpr double least_power = 0.05;
constexpr double most_power = 2;
constexpr std::size_t refit_count = 1000;

/// The points of one number of pairs; x is ln(n / largest).
struct Size {
  double x = 0, count = 0, mean = 0;
};

/// a + b (n / largest)^-g and its sum of squared errors, that within sizes left out; relative numbers of pairs keep b
/// in the range of the errors.
struct Fit {
  double a = 0, b = 0, g = 0, squares = 0;
};

/// Least squares in a and b, both not negative, for one g.
Fit fit_linear(const std::vector<Size>& sizes, double g) {
  double n = 0, sum_u = 0, sum_uu = 0, sum_y = 0, sum_uy = 0;
  for (const Size& size : sizes) {
    const double u = std::exp(-g * size.x);
    n += size.count;
    sum_u += size.count * u;
    sum_uu += size.count * u * u;
    sum_y += size.count * size.mean;
    sum_uy += size.count * u * size.mean;
  }
  Fit fit;
  fit.g = g;
  const double determinant = n * sum_uu - sum_u * sum_u;
  if (determinant > 0) {
    fit.b = (n * sum_uy - sum_u * sum_y) / determinant;
    fit.a = (sum_y - fit.b * sum_u) / n;
  }
  if (fit.a < 0) {
    fit.a = 0;
    fit.b = sum_uy / sum_uu;
  }
  if (fit.b <= 0) {
    fit.b = 0;
    fit.a = std::max(0.0, sum_y / n);
  }
  for (const Size& size : sizes) {
    const double gap = size.mean - fit.a - fit.b * std::exp(-g * size.x);
    fit.squares += size.count * gap * gap;
  }
  return fit;
}

Fit fit_power_law(const std::vector<Size>& sizes) {
  constexpr int steps = 24;
  const double ratio = std::pow(most_power / least_power, 1.0 / steps);
  Fit best = fit_linear(sizes, least_power);
  for (int step = 1; step <= steps; ++step) {
    const Fit fit = fit_linear(sizes, least_power * std::pow(ratio, step));
    if (fit.squares < best.squares) best = fit;
  }
  double low = std::max(least_power, best.g / ratio), high = std::min(most_power, best.g * ratio);
  constexpr double golden = 0.6180339887498949;
  Fit left = fit_linear(sizes, high - golden * (high - low));
  Fit right = fit_linear(sizes, low + golden * (high - low));
  for (int step = 0; step < 18; ++step) {
    if (left.squares <= right.squares) {
      high = right.g;
      right = left;
      left = fit_linear(sizes, high - golden * (high - low));
    } else {
      low = left.g;
      left = right;
      right = fit_linear(sizes, low + golden * (high - low));
    }
  }
  for (const Fit& fit : {left, right}) {
    if (fit.squares < best.squares) best = fit;
  }
  return best;
}

double squares_about_mean(const std::vector<double>& y) {
  double mean = 0, squares = 0;
  for (const double value : y) mean += value / static_cast<double>(y.size());
  for (const double value : y) squares += (value - mean) * (value - mean);
  return squares;
}

/// A variance and what it rests on.
struct Noise {
  double variance = undefined;
  std::size_t freedom = 0;
};

/// Errors by size, their means, and the squares about these.
struct Table {
  std::vector<Size> sizes;
  double within = 0;
  double points = 0, total = 0, total_squares = 0;

  void add(double x, const std::vector<double>& errors) {
    Size size{x, static_cast<double>(errors.size()), 0};
    for (const double error : errors) {
      size.mean += error / size.count;
      total += error;
      total_squares += error * error;
    }
    sizes.push_back(size);
    within += squares_about_mean(errors);
    points += size.count;
  }
  /// Share of the squares about the mean that a fit takes away.
  double explained_by(const Fit& fit) const {
    const double flat = total_squares - total * total / points;
    return 1 - (fit.squares + within) / std::max(flat, 1e-300);
  }
};

/// The larger of the variance within sizes and that about the curve: seeds of one size share its pairs, so their spread
/// alone may be too small.
Noise noise_of(const Table& table, const Fit& fit) {
  Noise result;
  const auto repeats = static_cast<std::size_t>(table.points) - table.sizes.size();
  if (repeats >= 2) result = {table.within / static_cast<double>(repeats), repeats};
  if (table.points > 3) {
    const double about = (fit.squares + table.within) / (table.points - 3);
    if (result.freedom == 0 || about > result.variance) result = {about, static_cast<std::size_t>(table.points) - 3};
  }
  return result;
}

IntervalEstimate limits(double value, std::vector<double> refits) {
  if (refits.empty()) return {value, undefined, undefined};
  std::sort(refits.begin(), refits.end());
  return {value, quantile(refits, 0.025), quantile(refits, 0.975)};
}

void check(std::span<const LearningPoint> points) {
  if (points.empty()) throw Error(ErrorCode::usage, {"learning curve"}, "no points", "at least one");
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].pairs > 0 && std::isfinite(points[i].pairs) && std::isfinite(points[i].error)) continue;
    throw Error(ErrorCode::numeric, {"learning curve", i + 1},
                std::to_string(points[i].pairs) + " pairs with error " + std::to_string(points[i].error),
                "a number of pairs above 0 and a finite error");
  }
}

}  // namespace

double LearningCurve::at(double pairs) const { return a.value + b.value * std::pow(pairs, -g.value); }

IntervalEstimate LearningCurve::forecast(double pairs) const {
  std::vector<double> values;
  for (const auto& [refit_a, refit_b, refit_g] : refits)
    values.push_back(refit_a + refit_b * std::pow(pairs, -refit_g));
  return limits(at(pairs), std::move(values));
}

LearningCurve fit_learning_curve(std::span<const LearningPoint> points, std::uint64_t seed) {
  check(points);
  LearningCurve curve;
  curve.points = points.size();
  std::map<double, std::vector<double>> by_size;
  for (const LearningPoint& point : points) {
    by_size[point.pairs].push_back(point.error);
    curve.largest = std::max(curve.largest, point.pairs);
  }
  curve.sizes = by_size.size();
  Table table;
  for (const auto& [pairs, errors] : by_size) table.add(std::log(pairs / curve.largest), errors);

  const Fit fit = fit_power_law(table.sizes);
  const Noise noise = noise_of(table, fit);
  const double deviation = std::sqrt(noise.variance);
  const auto absolute_b = [&](const Fit& of) { return of.b * std::pow(curve.largest, of.g); };
  curve.noise = deviation;
  if (curve.sizes < 3 || noise.freedom == 0) {
    curve.a = {fit.a, undefined, undefined};
    curve.b = {absolute_b(fit), undefined, undefined};
    curve.g = {fit.g, undefined, undefined};
    curve.reason = curve.sizes < 3 ? "Three sizes at least are needed to fit a curve."
                                   : "The noise is unknown: four points at least, or several seeds a size, are needed.";
    return curve;
  }

  // Fresh points about the curve, and about a flat line; the noise itself is known only as well as its freedom allows.
  const double explained = table.explained_by(fit);
  std::vector<double> as, bs, gs;
  double flat_as_good = 0;
  std::vector<double> fresh;
  const auto fresh_table = [&](RandomStream& random, double spread, const Fit& about) {
    Table drawn;
    for (const Size& size : table.sizes) {
      fresh.resize(static_cast<std::size_t>(size.count));
      for (double& error : fresh) error = about.a + about.b * std::exp(-about.g * size.x) + spread * random.normal();
      drawn.add(size.x, fresh);
    }
    return drawn;
  };
  for (std::size_t i = 0; i < refit_count; ++i) {
    RandomStream random(seed, i);
    double chi_squared = 0;
    for (std::size_t j = 0; j < noise.freedom; ++j) {
      const double z = random.normal();
      chi_squared += z * z;
    }
    const double spread = deviation * std::sqrt(static_cast<double>(noise.freedom) / std::max(chi_squared, 1e-3));
    const Fit refit = fit_power_law(fresh_table(random, spread, fit).sizes);
    curve.refits.push_back({refit.a, absolute_b(refit), refit.g});
    as.push_back(refit.a);
    bs.push_back(absolute_b(refit));
    gs.push_back(refit.g);
    const Table flat = fresh_table(random, deviation, {table.total / table.points, 0, 0, 0});
    flat_as_good += flat.explained_by(fit_power_law(flat.sizes)) >= explained ? 1 : 0;
  }
  curve.a = limits(fit.a, as);
  curve.b = limits(absolute_b(fit), bs);
  curve.g = limits(fit.g, gs);
  curve.p_flat = fit.b > 0 ? (1 + flat_as_good) / (1 + static_cast<double>(refit_count)) : 1;
  curve.informative = curve.p_flat <= 0.05;
  if (!curve.informative) curve.reason = "The errors do not fall beyond doubt, so there is nothing to forecast from.";
  return curve;
}

std::vector<LearningPoint> read_learning_points(const std::string& path) {
  const std::string content = read_file(path);
  std::string_view rest = content;
  const auto cells_of = [](std::string_view line) {
    std::vector<std::string_view> cells;
    for (;;) {
      const std::size_t end = line.find('\t');
      cells.push_back(line.substr(0, end));
      if (end == std::string_view::npos) return cells;
      line.remove_prefix(end + 1);
    }
  };
  std::vector<LearningPoint> points;
  std::vector<std::string_view> names;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    const std::vector<std::string_view> cells = cells_of(line);
    if (names.empty()) {
      names = cells;
      for (const std::string_view needed : {"pairs", "auc"}) {
        if (std::find(names.begin(), names.end(), needed) == names.end()) {
          throw Error(ErrorCode::format, {path, number}, "'" + std::string(line.substr(0, 60)) + "'",
                      "a header with the columns pairs and auc, separated by tabs");
        }
      }
      continue;
    }
    if (cells.size() != names.size()) {
      throw Error(ErrorCode::format, {path, number}, std::to_string(cells.size()) + " cells",
                  std::to_string(names.size()) + " as in the header");
    }
    const auto number_in = [&](std::string_view column, double least, double most, const char* wanted) {
      const std::string_view text =
          cells[static_cast<std::size_t>(std::find(names.begin(), names.end(), column) - names.begin())];
      double value = 0;
      const auto [stop, status] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (status != std::errc() || stop != text.data() + text.size() || !(value >= least && value <= most)) {
        throw Error(ErrorCode::format, {path, number}, "'" + std::string(text.substr(0, 60)) + "'", wanted);
      }
      return value;
    };
    const double pairs = number_in("pairs", 1, 1e15, "a number of pairs from 1 on");
    points.push_back({pairs, 1 - number_in("auc", 0, 1, "an AUC in [0, 1]")});
  }
  if (points.empty()) throw Error(ErrorCode::format, {path}, "no points", "rows of pairs and auc");
  return points;
}

}  // namespace promptcache
