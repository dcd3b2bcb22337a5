#include "promptcache/pairs/label_audit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
constexpr double two_sided_95 = 1.959963984540054;

}  // namespace

Agreement agreement_of(const std::array<std::array<std::size_t, 2>, 2>& counts) {
  Agreement result;
  result.counts = counts;
  result.share = result.kappa = result.kappa_low = result.kappa_high = nothing;
  const auto n = static_cast<double>(result.pairs());
  if (n == 0) return result;
  double p[2][2], first[2] = {0, 0}, second[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      p[i][j] = static_cast<double>(counts[i][j]) / n;
      first[i] += p[i][j];
      second[j] += p[i][j];
    }
  }
  const double observed = p[0][0] + p[1][1];
  const double expected = first[0] * second[0] + first[1] * second[1];
  result.share = observed;
  const auto always_the_same = [&](std::size_t yes) { return yes == 0 || yes == result.pairs(); };
  const bool first_is = always_the_same(counts[1][0] + counts[1][1]);
  const bool second_is = always_the_same(counts[0][1] + counts[1][1]);
  if (first_is && second_is && observed == 1) return result;  // 0 / 0
  result.kappa = (observed - expected) / (1 - expected);
  if (first_is || second_is) return result;  // 0 whatever the other says: an interval of no width would mislead

  double sum = 0;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      const double margins = second[i] + first[j];
      const double term = i == j ? (1 - expected) - margins * (1 - observed) : margins * (1 - observed);
      sum += p[i][j] * term * term;
    }
  }
  const double centre = observed * expected - 2 * expected + observed;
  const double variance = (sum - centre * centre) / (n * std::pow(1 - expected, 4));
  const double half = two_sided_95 * std::sqrt(std::max(0.0, variance));
  result.kappa_low = std::max(-1.0, result.kappa - half);
  result.kappa_high = std::min(1.0, result.kappa + half);
  return result;
}

LabelAudit audit_labels(std::span<const double> human, std::span<const double> teacher,
                        std::span<const double> similarities, std::size_t bands) {
  if (human.size() != teacher.size() || (!similarities.empty() && similarities.size() != human.size())) {
    throw Error(ErrorCode::usage, {"audit_labels"},
                std::to_string(human.size()) + " human labels, " + std::to_string(teacher.size()) +
                    " of the teacher, " + std::to_string(similarities.size()) + " similarities",
                "as many of each");
  }
  LabelAudit audit;
  std::array<std::array<std::size_t, 2>, 2> counts{};
  std::vector<std::size_t> judged;  // by both, with a similarity
  for (std::size_t i = 0; i < human.size(); ++i) {
    if (std::isnan(human[i])) {
      ++audit.without_human;
    } else if (std::isnan(teacher[i])) {
      ++audit.unanswered;
    } else {
      ++counts[human[i] >= 0.5 ? 1 : 0][teacher[i] >= 0.5 ? 1 : 0];
      if (!similarities.empty() && !std::isnan(similarities[i])) judged.push_back(i);
    }
  }
  audit.all = agreement_of(counts);
  std::stable_sort(judged.begin(), judged.end(),
                   [&](std::size_t a, std::size_t b) { return similarities[a] < similarities[b]; });
  bands = std::min(bands, judged.size());
  for (std::size_t band = 0; band < bands; ++band) {
    const std::size_t begin = judged.size() * band / bands, end = judged.size() * (band + 1) / bands;
    counts = {};
    for (std::size_t k = begin; k < end; ++k) {
      ++counts[human[judged[k]] >= 0.5 ? 1 : 0][teacher[judged[k]] >= 0.5 ? 1 : 0];
    }
    audit.bands.push_back({similarities[judged[begin]], similarities[judged[end - 1]], agreement_of(counts)});
  }
  return audit;
}

}  // namespace promptcache
