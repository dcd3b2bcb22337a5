#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "eval/resampling.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/eval/classification.hpp"
#include "promptcache/eval/cluster_bootstrap.hpp"

namespace promptcache {
namespace {

void check(std::span<const double> probabilities, std::span<const double> labels) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (std::isfinite(probabilities[i]) && std::isfinite(labels[i])) continue;
    throw Error(ErrorCode::numeric, {"pair " + std::to_string(i + 1)},
                "probability " + std::to_string(probabilities[i]) + " and label " + std::to_string(labels[i]),
                "finite numbers");
  }
}

/// Pairs in the bins of `calibration_bins`, which stay where they are while clusters are resampled.
struct BinnedPairs {
  std::vector<std::uint32_t> cluster;
  std::vector<double> gap;         // probability - label
  std::vector<std::size_t> begin;  // of each bin; the number of pairs at the end

  BinnedPairs(std::span<const double> probabilities, std::span<const double> labels,
              const std::vector<std::uint32_t>& clusters, std::size_t bins) {
    const std::size_t n = labels.size();
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::pair(probabilities[a], labels[a]) < std::pair(probabilities[b], labels[b]);
    });
    for (const std::size_t pair : order) {
      cluster.push_back(clusters[pair]);
      gap.push_back(probabilities[pair] - labels[pair]);
    }
    bins = std::min(bins, n);
    for (std::size_t bin = 0; bin <= bins; ++bin) begin.push_back(bin * n / bins);
  }

  std::size_t bins() const { return begin.size() - 1; }

  /// By how much the noise of a mean over few clusters is larger than its resamples show.
  double small_sample_factor(std::size_t bin) const {
    std::vector<std::uint32_t> seen(cluster.begin() + static_cast<std::ptrdiff_t>(begin[bin]),
                                    cluster.begin() + static_cast<std::ptrdiff_t>(begin[bin + 1]));
    std::sort(seen.begin(), seen.end());
    const auto count = static_cast<double>(std::unique(seen.begin(), seen.end()) - seen.begin());
    return count > 1 ? std::sqrt(count / (count - 1)) : 1;
  }

  /// Mean gap and share of the weight of each bin.
  void measure(const std::vector<std::uint32_t>& times, double* gaps, double* shares) const {
    double total = 0;
    for (std::size_t bin = 0; bin < bins(); ++bin) {
      double sum = 0, weight = 0;
      for (std::size_t i = begin[bin]; i < begin[bin + 1]; ++i) {
        const double w = times[cluster[i]];
        weight += w;
        sum += w * gap[i];
      }
      gaps[bin] = weight > 0 ? sum / weight : 0;
      shares[bin] = weight;
      total += weight;
    }
    for (std::size_t bin = 0; bin < bins(); ++bin) shares[bin] /= total;
  }
};

double mean_absolute(const std::vector<double>& gaps, const std::vector<double>& shares) {
  double sum = 0;
  for (std::size_t bin = 0; bin < gaps.size(); ++bin) sum += shares[bin] * std::abs(gaps[bin]);
  return sum;
}

/// What ECE samples would show if the true gaps were multiples of the observed ones.
struct GapNoise {
  std::vector<double> observed;
  std::vector<double> gaps, shares;  // [resamples, bins]: resampled gaps, and weights of the bins

  /// Shares of the resamples whose ECE is at least, and at most, `ece` when the true gaps are `factor` of the observed.
  std::pair<double, double> tails(double factor, double ece) const {
    const std::size_t bins = observed.size();
    double at_least = 0, at_most = 0, all = 0;
    constexpr double rounding = 1e-12;
    for (std::size_t row = 0; row < gaps.size(); row += bins, ++all) {
      double sum = 0;
      for (std::size_t bin = 0; bin < bins; ++bin) {
        const double noise = gaps[row + bin] - observed[bin];
        sum += shares[row + bin] * std::abs(factor * observed[bin] + noise);
      }
      at_least += sum >= ece - rounding ? 1 : 0;
      at_most += sum <= ece + rounding ? 1 : 0;
    }
    return {at_least / all, at_most / all};
  }
};

/// The largest factor in [low, high] for which `holds`, which turns from true to false once.
template <class Holds>
double last_that_holds(double low, double high, const Holds& holds) {
  for (int step = 0; step < 30; ++step) {
    const double middle = (low + high) / 2;
    (holds(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::optional<CalibrationIntervals> bootstrap_calibration(std::span<const double> probabilities,
                                                          std::span<const double> labels,
                                                          std::span<const std::size_t> clusters, std::size_t bins,
                                                          const BootstrapOptions& options) {
  if (probabilities.size() != labels.size() || clusters.size() != labels.size() || bins == 0) {
    throw Error(ErrorCode::usage, {"resampling"},
                std::to_string(probabilities.size()) + " probabilities, " + std::to_string(labels.size()) +
                    " labels, " + std::to_string(clusters.size()) + " clusters and " + std::to_string(bins) + " bins",
                "as many of each, and at least one bin");
  }
  check(probabilities, labels);
  std::size_t count = 0;
  const std::vector<std::uint32_t> numbers = dense_numbers(clusters, count);
  if (count < 2 || options.resamples == 0) return std::nullopt;

  const BinnedPairs pairs(probabilities, labels, numbers, bins);
  const std::size_t width = pairs.bins();
  std::vector<double> gaps(width), shares(width);
  pairs.measure(std::vector<std::uint32_t>(count, 1), gaps.data(), shares.data());
  std::vector<double> squares(count), sizes(count);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    squares[numbers[i]] += (probabilities[i] - labels[i]) * (probabilities[i] - labels[i]);
    sizes[numbers[i]] += 1;
  }

  const std::size_t rows = options.resamples * width;
  GapNoise noise{gaps, std::vector<double>(rows), std::vector<double>(rows)};
  std::vector<double> briers(options.resamples);
  for_each_resample(
      options.resamples, options.threads, [&] { return std::vector<std::uint32_t>(count); },
      [&](std::size_t number, std::vector<std::uint32_t>& times) {
        draw_clusters(options.seed, number, times);
        pairs.measure(times, noise.gaps.data() + number * width, noise.shares.data() + number * width);
        double sum = 0, size = 0;
        for (std::size_t i = 0; i < count; ++i) {
          sum += times[i] * squares[i];
          size += times[i] * sizes[i];
        }
        briers[number] = sum / size;
      });

  for (std::size_t bin = 0; bin < width; ++bin) {
    const double factor = pairs.small_sample_factor(bin);
    for (std::size_t i = bin; i < rows; i += width) {
      noise.gaps[i] = gaps[bin] + factor * (noise.gaps[i] - gaps[bin]);
    }
  }

  CalibrationIntervals result;
  const double ece = mean_absolute(gaps, shares);
  constexpr double tail = 0.025;
  constexpr double most = 8;  // times the observed gaps
  result.p_calibrated = noise.tails(0, ece).first;
  const double low = result.p_calibrated >= tail
                         ? 0
                         : last_that_holds(0, 1, [&](double factor) { return noise.tails(factor, ece).first < tail; });
  const double high = last_that_holds(1, most, [&](double factor) { return noise.tails(factor, ece).second >= tail; });
  result.ece = {ece, low * ece, high * ece};
  std::sort(briers.begin(), briers.end());
  result.brier = {brier_score(probabilities, labels), quantile(briers, tail), quantile(briers, 1 - tail)};
  return result;
}

CalibratedEce simulate_calibrated_ece(std::span<const double> probabilities, std::size_t bins,
                                      const BootstrapOptions& options) {
  if (probabilities.empty() || bins == 0 || options.resamples == 0) {
    throw Error(ErrorCode::usage, {"simulate_calibrated_ece"}, "no probabilities, bins or resamples",
                "at least one of each");
  }
  std::vector<double> ascending(probabilities.begin(), probabilities.end());
  std::sort(ascending.begin(), ascending.end());
  const std::size_t n = ascending.size();
  bins = std::min(bins, n);
  std::vector<double> found(options.resamples);
  for_each_resample(
      options.resamples, options.threads, [] { return 0; },
      [&](std::size_t number, int) {
        RandomStream random(options.seed, number);
        double sum = 0;
        for (std::size_t bin = 0; bin < bins; ++bin) {
          double gap = 0;
          for (std::size_t i = bin * n / bins; i < (bin + 1) * n / bins; ++i) {
            gap += ascending[i] - (random.uniform() < ascending[i] ? 1 : 0);
          }
          sum += std::abs(gap);
        }
        found[number] = sum / static_cast<double>(n);
      });
  std::sort(found.begin(), found.end());
  const double sum = std::accumulate(found.begin(), found.end(), 0.0);
  return {sum / static_cast<double>(found.size()), quantile(found, 0.95)};
}

}  // namespace promptcache
