#include "promptcache/eval/fit_evidence.hpp"

#include <Eigen/Dense>
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

/// Standardised features in rows, a 1 in front of each.
struct Design {
  std::vector<std::size_t> used;  // features with a column
  std::vector<double> center, scale;
  Eigen::MatrixXd rows;

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
    rows.setZero(static_cast<Eigen::Index>(evidence.size()), static_cast<Eigen::Index>(used.size() + 1));
    rows.col(0).setOnes();
    for (std::size_t row = 0; row < evidence.size(); ++row) {
      const auto features = evidence_features(evidence[row]);
      for (std::size_t k = 0; k < used.size(); ++k) {
        const auto& value = features[used[k]];
        if (value)
          rows(static_cast<Eigen::Index>(row), static_cast<Eigen::Index>(k + 1)) = (*value - center[k]) / scale[k];
      }
    }
  }
};

double loss_of(const Design& design, const Eigen::VectorXd& labels, const Eigen::VectorXd& weights, double penalty) {
  const Eigen::VectorXd z = design.rows * weights;
  const double fit = z.unaryExpr(&softplus).sum() - labels.dot(z);
  return fit + penalty / 2 * weights.tail(weights.size() - 1).squaredNorm();
}

EvidenceWeights fit_stage(const Design& design, std::span<const double> given_labels, double penalty) {
  const Eigen::VectorXd labels =
      Eigen::Map<const Eigen::VectorXd>(given_labels.data(), static_cast<Eigen::Index>(given_labels.size()));
  Eigen::VectorXd weights = Eigen::VectorXd::Zero(design.rows.cols());
  Eigen::VectorXd ridge = Eigen::VectorXd::Constant(design.rows.cols(), penalty);
  ridge[0] = 0;
  double loss = loss_of(design, labels, weights, penalty);
  for (int step = 0; step < 100; ++step) {
    const Eigen::VectorXd p = (design.rows * weights).unaryExpr(&sigmoid);
    const Eigen::VectorXd curvature = p.array() * (1 - p.array());
    const Eigen::VectorXd gradient = design.rows.transpose() * (p - labels) + ridge.cwiseProduct(weights);
    Eigen::MatrixXd hessian = design.rows.transpose() * curvature.asDiagonal() * design.rows;
    hessian.diagonal() += ridge;
    hessian(0, 0) += 1e-9;  // keeps the step finite where every p (1 - p) underflows
    const Eigen::VectorXd direction = hessian.ldlt().solve(gradient);
    double rate = 1, next = loss;
    for (; rate > 1e-10; rate /= 2) {
      next = loss_of(design, labels, weights - rate * direction, penalty);
      if (next <= loss) break;
    }
    if (!(next <= loss)) break;
    weights -= rate * direction;
    const bool settled = loss - next < 1e-12 * (1 + loss);
    loss = next;
    if (settled) break;
  }
  EvidenceWeights result;
  result.intercept = weights[0];
  for (std::size_t k = 0; k < design.used.size(); ++k) {
    result.weight[design.used[k]] = weights[static_cast<Eigen::Index>(k + 1)] / design.scale[k];
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
