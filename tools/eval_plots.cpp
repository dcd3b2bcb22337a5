#include "eval_plots.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "numbers.hpp"
#include "promptcache/eval/hit_bound.hpp"
#include "promptcache/pairs/split.hpp"

namespace tool {
namespace {

using promptcache::Pair;

Plot::Rows rows_of(const Band& band) {
  Plot::Rows rows;
  for (std::size_t i = 0; i < band.at.size(); ++i) rows.push_back({band.at[i], band.low[i], band.high[i]});
  return rows;
}

/// Positions from the most similar on.
std::vector<std::size_t> by_similarity(const std::vector<double>& similarities) {
  std::vector<std::size_t> order(similarities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return similarities[a] > similarities[b]; });
  return order;
}

/// A curve of each model over its band, the baseline below.
template <class Curve>
void add_both(Plot& plot, const ReportInput& input, Band ModelDetails::*band, Curve curve) {
  const auto add = [&](const Evaluation& evaluation, const ModelDetails& details, Ink ink, const char* title) {
    if (band != nullptr) plot.band(rows_of(details.*band), ink);
    plot.line(curve(evaluation), ink, title, ink == Ink::baseline);
  };
  if (input.comparison->baseline) {
    add(*input.comparison->baseline, input.baseline_details, Ink::baseline, "baseline");
  }
  add(input.comparison->model, input.model_details, Ink::model, "model");
}

/// Bounds at growing numbers of hits, on one pair of each question cluster.
std::vector<ModelDetails::Tested> pointwise_bounds(const ReportInput& input, const Evaluation& evaluation) {
  const std::vector<Pair>& pairs = *input.pairs;
  const std::vector<std::size_t> kept = promptcache::one_of_each_cluster(promptcache::components_of(pairs), 1);
  std::vector<double> similarities;
  for (const std::size_t pair : kept) similarities.push_back(evaluation.similarities[pair]);
  const std::vector<std::size_t> order = by_similarity(similarities);
  std::vector<ModelDetails::Tested> bounds;
  std::size_t wrong = 0;
  double next = 5;  // below five hits the bound is near 1 whatever happens
  for (std::size_t i = 0; i < order.size(); ++i) {
    wrong += pairs[kept[order[i]]].positive() ? 0 : 1;
    const std::size_t hits = i + 1;
    const bool tied = hits < order.size() && similarities[order[hits]] == similarities[order[i]];
    if (tied || (static_cast<double>(hits) < next && hits != order.size())) continue;
    bounds.push_back({static_cast<double>(hits) / static_cast<double>(order.size()),
                      promptcache::binomial_upper_bound(wrong, hits, input.confidence)});
    next = static_cast<double>(hits) * 1.03 + 1;
  }
  return bounds;
}

}  // namespace

Plot roc_plot(const ReportInput& input) {
  Plot plot("negatives served", "positives served");
  plot.set("set xrange [0:1]").set("set yrange [0:1]").guide("x");
  const std::vector<Pair>& pairs = *input.pairs;
  const auto positives = static_cast<double>(input.comparison->positives);
  const double negatives = static_cast<double>(pairs.size()) - positives;
  add_both(plot, input, &ModelDetails::roc, [&](const Evaluation& evaluation) {
    const std::vector<double>& similarities = evaluation.similarities;
    const std::vector<std::size_t> order = by_similarity(similarities);
    double right = 0;
    double wrong = 0;
    Plot::Rows rows = {{0, 0}};
    for (std::size_t i = 0; i < order.size(); ++i) {
      (pairs[order[i]].positive() ? right : wrong) += 1;
      const bool tied = i + 1 < order.size() && similarities[order[i + 1]] == similarities[order[i]];
      if (!tied) rows.push_back({wrong / negatives, right / positives});
    }
    return rows;
  });
  return plot;
}

Plot precision_plot(const ReportInput& input) {
  Plot plot("recall", "precision");
  plot.set("set xrange [0:1]").set("set yrange [0:1.02]");
  add_both(plot, input, &ModelDetails::precision, [](const Evaluation& evaluation) {
    Plot::Rows rows;
    for (const promptcache::CurvePoint& point : evaluation.curve) rows.push_back({point.recall, point.precision});
    return rows;
  });
  return plot;
}

Plot similarity_plot(const ReportInput& input, const Evaluation& evaluation) {
  constexpr std::size_t bins = 40;
  const auto [low, high] = std::minmax_element(evaluation.similarities.begin(), evaluation.similarities.end());
  const double width = std::max(1e-6, (*high - *low) / static_cast<double>(bins));
  std::vector<double> counts[2] = {std::vector<double>(bins), std::vector<double>(bins)};
  for (std::size_t i = 0; i < evaluation.similarities.size(); ++i) {
    const auto bin = static_cast<std::size_t>((evaluation.similarities[i] - *low) / width);
    counts[(*input.pairs)[i].positive() ? 1 : 0][std::min(bin, bins - 1)] += 1;
  }
  const auto rows = [&](std::size_t label) {
    Plot::Rows result;
    for (std::size_t bin = 0; bin < bins; ++bin) {
      result.push_back({*low + (static_cast<double>(bin) + 0.5) * width, counts[label][bin]});
    }
    return result;
  };
  Plot plot("similarity", "pairs");
  plot.set("set yrange [0:*]").set("set boxwidth " + trimmed(width));
  plot.set("set xrange [" + trimmed(*low - width) + ":" + trimmed(*high + width) + "]");
  plot.boxes(rows(0), Ink::label_0, "label 0").boxes(rows(1), Ink::label_1, "label 1");
  return plot;
}

Plot reliability_plot(const std::vector<promptcache::CalibrationBin>& before,
                      const std::vector<promptcache::CalibrationBin>& after) {
  const auto rows = [](const std::vector<promptcache::CalibrationBin>& bins) {
    Plot::Rows result;
    for (const promptcache::CalibrationBin& bin : bins) result.push_back({bin.mean_probability, bin.mean_label});
    return result;
  };
  Plot plot("estimated probability", "share of positives");
  plot.set("set xrange [0:1]").set("set yrange [0:1]").guide("x");
  plot.points(rows(before), Ink::baseline, after.empty() ? "as the model says" : "before calibration", true);
  plot.points(rows(after), Ink::model, before.empty() ? "calibrated on other pairs" : "after calibration", true);
  return plot;
}

Plot hit_bound_plot(const ReportInput& input) {
  Plot plot("hits kept, % of pairs", "wrong hits, %");
  plot.set("set yrange [0:100]").set("set xrange [0:100]");
  const auto add = [&](const Evaluation& evaluation, const ModelDetails& details, Ink ink, const std::string& title) {
    Plot::Rows rows;
    for (const ModelDetails::Tested& each :
         details.hit_bounds.empty() ? pointwise_bounds(input, evaluation) : details.hit_bounds) {
      rows.push_back({100 * each.kept, 100 * each.bound});
    }
    plot.line(rows, ink, title, ink == Ink::baseline);
    if (details.chosen) {
      plot.points({{100 * details.chosen->kept, 100 * details.chosen->bound}}, ink, title + ", chosen threshold");
    }
  };
  if (input.comparison->baseline) {
    add(*input.comparison->baseline, input.baseline_details, Ink::baseline, "baseline");
  }
  add(input.comparison->model, input.model_details, Ink::model, "model");
  plot.guide(trimmed(100 * input.target_wrong_hits));
  return plot;
}

Plot stream_plot(const ReportInput& input) {
  Plot plot("threshold tau", "efficiency, %");
  plot.set("set xrange [0.3:1]").set("set yrange [-40:*]").guide("0");
  const auto add = [&](const StreamSweep& sweep, Ink ink, const char* title) {
    Plot::Rows band;
    Plot::Rows line;
    for (const promptcache::StreamScore& score : sweep.points) {
      if (!score.efficiency) continue;
      band.push_back({score.tau, 100 * score.efficiency->low, 100 * score.efficiency->high});
      line.push_back({score.tau, 100 * score.efficiency->value});
    }
    plot.band(band, ink).line(line, ink, title, ink == Ink::baseline);
  };
  if (input.baseline_stream) add(*input.baseline_stream, Ink::baseline, "baseline");
  add(*input.model_stream, Ink::model, "model");
  return plot;
}

Plot learning_plot(const LearningPicture& learning) {
  Plot::Rows points;
  for (const auto& [pairs, error] : learning.points) points.push_back({pairs, error});
  Plot::Rows band;
  Plot::Rows line;
  for (const auto& [pairs, error, low, high] : learning.curve) {
    line.push_back({pairs, error});
    if (std::isfinite(low) && std::isfinite(high)) band.push_back({pairs, low, high});
  }
  double least = HUGE_VAL;
  double most = 0;
  for (const Plot::Rows* rows : {&points, &line}) {
    for (const std::vector<double>& row : *rows) {
      least = std::min(least, row[0]);
      most = std::max(most, row[0]);
    }
  }
  Plot plot("training pairs", "1 - AUC");
  if (most > least) plot.set("set xrange [" + trimmed(least * 0.9) + ":" + trimmed(most * 1.1) + "]");
  plot.set("set logscale x 2").set("set yrange [0:*]").set("set format x '%.0f'").set("set xtics rotate by -30");
  plot.band(band, Ink::model).line(line, Ink::model, "fitted a + b / n^g").points(points, Ink::baseline, "trainings");
  return plot;
}

}  // namespace tool
