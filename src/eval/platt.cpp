#include "promptcache/eval/platt.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

double sigmoid(double z) { return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z)); }

double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

/// Mean cross entropy of z = slope * x + intercept against the targets.
double mean_loss(const std::vector<double>& x, const std::vector<double>& targets, double slope, double intercept) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double z = slope * x[i] + intercept;
    sum += softplus(z) - targets[i] * z;
  }
  return sum / static_cast<double>(x.size());
}

}  // namespace

double Calibration::probability(double similarity) const { return sigmoid(similarity / lambda - offset); }

double Calibration::similarity_at(double p) const { return lambda * (std::log(p / (1 - p)) + offset); }

std::optional<Calibration> try_fit_platt(std::span<const double> similarities, std::span<const double> labels) {
  const Where where{"calibration pairs"};
  if (similarities.size() != labels.size() || labels.empty()) {
    throw Error(ErrorCode::usage, where,
                std::to_string(similarities.size()) + " similarities and " + std::to_string(labels.size()) + " labels",
                "as many of each, at least two");
  }
  double positives = 0;
  double mean = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!std::isfinite(similarities[i]) || !(labels[i] >= 0 && labels[i] <= 1)) {
      throw Error(ErrorCode::numeric, {where.place, i + 1},
                  "similarity " + std::to_string(similarities[i]) + " with label " + std::to_string(labels[i]),
                  "a finite similarity and a label in [0, 1]");
    }
    positives += labels[i];
    mean += similarities[i];
  }
  const double n = static_cast<double>(labels.size());
  const double negatives = n - positives;
  mean /= n;
  if (positives <= 0 || negatives <= 0) {
    throw Error(ErrorCode::usage, where, "labels of one class only", "pairs of both classes");
  }

  // Standardised similarities make Newton's first step sensible whatever range the encoder uses.
  double variance = 0;
  for (double s : similarities) variance += (s - mean) * (s - mean);
  const double scale = std::sqrt(variance / n);
  if (!(scale > 0)) throw Error(ErrorCode::usage, where, "one similarity for all pairs", "similarities that differ");
  std::vector<double> x;
  std::vector<double> targets;
  const double high = (positives + 1) / (positives + 2);
  const double low = 1 / (negatives + 2);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    x.push_back((similarities[i] - mean) / scale);
    targets.push_back(low + (high - low) * labels[i]);
  }

  double slope = 0;
  double intercept = std::log(positives / negatives);
  double loss = mean_loss(x, targets, slope, intercept);
  for (int step = 0; step < 100; ++step) {
    double g0 = 0, g1 = 0, h00 = 0, h01 = 0, h11 = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double p = sigmoid(slope * x[i] + intercept);
      const double w = p * (1 - p);
      g0 += (p - targets[i]) * x[i];
      g1 += p - targets[i];
      h00 += w * x[i] * x[i];
      h01 += w * x[i];
      h11 += w;
    }
    constexpr double ridge = 1e-12;  // keeps the step finite where every p(1-p) underflows
    const double determinant = (h00 + ridge) * (h11 + ridge) - h01 * h01;
    const double d0 = ((h11 + ridge) * g0 - h01 * g1) / determinant;
    const double d1 = ((h00 + ridge) * g1 - h01 * g0) / determinant;
    double rate = 1;
    double next = loss;
    for (; rate > 1e-10; rate /= 2) {
      next = mean_loss(x, targets, slope - rate * d0, intercept - rate * d1);
      if (next <= loss) break;
    }
    if (next > loss) break;
    slope -= rate * d0;
    intercept -= rate * d1;
    const bool settled = loss - next < 1e-14;
    loss = next;
    if (settled) break;
  }
  if (!(slope > 0)) return std::nullopt;
  const double lambda = scale / slope;
  return Calibration{lambda, mean / lambda - intercept};
}

Calibration fit_platt(std::span<const double> similarities, std::span<const double> labels) {
  if (const std::optional<Calibration> fit = try_fit_platt(similarities, labels)) return *fit;
  throw Error(ErrorCode::usage, {"calibration pairs"}, "similarities that do not rise with the label",
              "an encoder whose similarity says something about the label");
}

}  // namespace promptcache
