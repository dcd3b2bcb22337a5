#include "promptcache/eval/fit_evidence.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr auto pair_feature = static_cast<std::size_t>(EvidenceFeature::pair_logit);

double sigmoid(double z) { return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z)); }

double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

/// Solves a x = b for a symmetric positive definite matrix, row by row; `a` and `b` are used up.
std::vector<double> solve(std::vector<double>& a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {  // Cholesky: a becomes L, below and on the diagonal
    for (std::size_t k = 0; k < j; ++k) {
      for (std::size_t i = j; i < n; ++i) a[i * n + j] -= a[i * n + k] * a[j * n + k];
    }
    const double root = std::sqrt(a[j * n + j]);
    for (std::size_t i = j; i < n; ++i) a[i * n + j] /= root;
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}

/// Standardised features in rows, a 1 in front of each.
struct Design {
  std::vector<std::size_t> used;  // features with a column
  std::vector<double> center, scale;
  std::size_t columns = 1;
  std::vector<double> rows;

  Design(std::span<const Evidence> evidence, bool with_pairs) {
    std::vector<double> sum(evidence_feature_count), squares(evidence_feature_count), count(evidence_feature_count);
    for (const Evidence& each : evidence) {
      const auto features = evidence_features(each);
      for (std::size_t i = 0; i < features.size(); ++i) {
        if (!features[i]) continue;
        sum[i] += *features[i];
        squares[i] += *features[i] * *features[i];
        ++count[i];
      }
    }
    for (std::size_t i = 0; i < evidence_feature_count; ++i) {
      if (count[i] == 0 || (i == pair_feature && !with_pairs)) continue;
      const double mean = sum[i] / count[i];
      const double variance = squares[i] / count[i] - mean * mean;
      if (!(variance > 1e-12 * (1 + mean * mean))) continue;
      used.push_back(i);
      center.push_back(mean);
      scale.push_back(std::sqrt(variance));
    }
    columns = used.size() + 1;
    rows.reserve(evidence.size() * columns);
    for (const Evidence& each : evidence) {
      const auto features = evidence_features(each);
      rows.push_back(1);
      for (std::size_t k = 0; k < used.size(); ++k) {
        rows.push_back(features[used[k]] ? (*features[used[k]] - center[k]) / scale[k] : 0);
      }
    }
  }

  double product(std::size_t row, const std::vector<double>& weights) const {
    double sum = 0;
    for (std::size_t k = 0; k < columns; ++k) sum += rows[row * columns + k] * weights[k];
    return sum;
  }
};

double loss_of(const Design& design, std::span<const double> labels, const std::vector<double>& weights,
               double penalty) {
  double loss = 0;
  for (std::size_t row = 0; row < labels.size(); ++row) {
    const double z = design.product(row, weights);
    loss += softplus(z) - labels[row] * z;
  }
  for (std::size_t k = 1; k < weights.size(); ++k) loss += penalty / 2 * weights[k] * weights[k];
  return loss;
}

EvidenceWeights fit_stage(const Design& design, std::span<const double> labels, double penalty) {
  const std::size_t n = design.columns;
  std::vector<double> weights(n);
  double loss = loss_of(design, labels, weights, penalty);
  for (int step = 0; step < 100; ++step) {
    std::vector<double> gradient(n), hessian(n * n);
    for (std::size_t row = 0; row < labels.size(); ++row) {
      const double* x = design.rows.data() + row * n;
      const double p = sigmoid(design.product(row, weights));
      const double curvature = p * (1 - p);
      for (std::size_t i = 0; i < n; ++i) {
        gradient[i] += (p - labels[row]) * x[i];
        for (std::size_t j = 0; j <= i; ++j) hessian[i * n + j] += curvature * x[i] * x[j];
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      const double ridge = i == 0 ? 1e-9 : penalty;
      if (i > 0) gradient[i] += penalty * weights[i];
      hessian[i * n + i] += ridge;
    }
    const std::vector<double> direction = solve(hessian, gradient);
    double rate = 1, next = loss;
    std::vector<double> moved(n);
    for (; rate > 1e-10; rate /= 2) {
      for (std::size_t i = 0; i < n; ++i) moved[i] = weights[i] - rate * direction[i];
      next = loss_of(design, labels, moved, penalty);
      if (next <= loss) break;
    }
    if (!(next <= loss)) break;
    weights = moved;
    const bool settled = loss - next < 1e-12 * (1 + loss);
    loss = next;
    if (settled) break;
  }
  EvidenceWeights result;
  result.intercept = weights[0];
  for (std::size_t k = 0; k < design.used.size(); ++k) {
    result.weight[design.used[k]] = weights[k + 1] / design.scale[k];
    result.center[design.used[k]] = design.center[k];
  }
  return result;
}

/// Checks the input; says how many have a pair's logit.
std::size_t check(std::span<const Evidence> evidence, std::span<const double> labels,
                  const EvidenceFitOptions& options) {
  const Where where{"calibration evidence"};
  const auto require = [&](bool good, const std::string& found, const char* wanted) {
    if (!good) throw Error(ErrorCode::usage, where, found, wanted);
  };
  require(evidence.size() == labels.size() && !labels.empty(),
          std::to_string(evidence.size()) + " pieces of evidence and " + std::to_string(labels.size()) + " labels",
          "as many of each, at least two");
  require(options.penalty > 0 && std::isfinite(options.penalty), "penalty " + std::to_string(options.penalty),
          "a number above 0");
  require(options.unasked >= 0 && options.unasked < 1, "unasked " + std::to_string(options.unasked),
          "a share of at least 0 and below 1");
  double positives = 0;
  std::size_t scored = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    bool finite = labels[i] >= 0 && labels[i] <= 1;
    for (const auto& feature : evidence_features(evidence[i])) finite = finite && (!feature || std::isfinite(*feature));
    if (!finite) {
      throw Error(ErrorCode::numeric, {where.place, i + 1},
                  "a value that is not finite, or the label " + std::to_string(labels[i]),
                  "finite values and a label in [0, 1]");
    }
    positives += labels[i];
    if (evidence[i].pair_logit) ++scored;
  }
  require(positives > 0 && positives < static_cast<double>(labels.size()), "labels of one class only",
          "pairs of both classes");
  require(scored == 0 || scored == labels.size(),
          "pair logits for " + std::to_string(scored) + " of " + std::to_string(labels.size()), "for all or none");
  return scored;
}

/// The similarity that a share of the right ones lies below.
double least_similarity(std::span<const Evidence> evidence, std::span<const double> labels, double unasked) {
  std::vector<double> right;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0.5) right.push_back(evidence[i].similarity);
  }
  if (right.empty()) return -1;
  std::sort(right.begin(), right.end());
  return std::clamp(right[static_cast<std::size_t>(unasked * static_cast<double>(right.size()))], -1.0, 1.0);
}

}  // namespace

LogisticEvidence fit_evidence(std::span<const Evidence> evidence, std::span<const double> labels,
                              const EvidenceFitOptions& options) {
  const std::size_t scored = check(evidence, labels, options);
  const EvidenceWeights first = fit_stage(Design(evidence, false), labels, options.penalty);
  if (scored == 0) return LogisticEvidence(first);
  return LogisticEvidence(first, fit_stage(Design(evidence, true), labels, options.penalty),
                          least_similarity(evidence, labels, options.unasked));
}

}  // namespace promptcache
