#include <algorithm>
#include <cmath>

#include "eval_report.hpp"
#include "numbers.hpp"

namespace tool {
namespace {

std::string limits(const std::optional<promptcache::IntervalEstimate>& estimate) {
  return estimate ? fixed(estimate->low, 4) + " to " + fixed(estimate->high, 4) : "-";
}

std::string with_limits(double value, const promptcache::IntervalEstimate* estimate) {
  return fixed(value, 4) +
         (estimate != nullptr ? " (" + fixed(estimate->low, 4) + " to " + fixed(estimate->high, 4) + ")" : "");
}

ModelDetails details_of(const Evaluation& evaluation, const std::optional<WrongHits>& hits) {
  ModelDetails details;
  details.roc = {evaluation.by_cluster.roc.at, evaluation.by_cluster.roc.low, evaluation.by_cluster.roc.high};
  details.precision = {evaluation.by_cluster.precision.at, evaluation.by_cluster.precision.low,
                       evaluation.by_cluster.precision.high};
  if (evaluation.after) details.calibrated_bins = evaluation.after->bins;
  if (hits && hits->choice.chosen && hits->choice.pairs > 0) {
    const promptcache::HitBound& chosen = *hits->choice.chosen;
    details.chosen = {static_cast<double>(chosen.hits) / static_cast<double>(hits->choice.pairs), chosen.upper_bound};
  }
  return details;
}

void add_rows(ReportInput& input) {
  const Comparison& comparison = *input.comparison;
  const auto both = [&](const std::string& measure, auto&& value_of) {
    input.more_rows.push_back(
        {measure, value_of(comparison.model), comparison.baseline ? value_of(*comparison.baseline) : std::string()});
  };
  both("AUC (95 %, by question cluster)", [](const Evaluation& each) { return limits(each.by_cluster.auc); });
  const auto calibration = [&](const std::string& state, std::optional<CalibrationQuality> Evaluation::*quality) {
    if (!(comparison.model.*quality)) return;
    both("ECE, " + state + " (95 %, by question cluster)", [&](const Evaluation& each) {
      if (!(each.*quality)) return std::string("-");
      const CalibrationQuality& q = *(each.*quality);
      return with_limits(q.ece, q.intervals ? &q.intervals->ece : nullptr);
    });
    both("ECE that a perfect " + state + " would show, mean, 95 %", [&](const Evaluation& each) {
      if (!(each.*quality)) return std::string("-");
      const CalibrationQuality& q = *(each.*quality);
      return fixed(q.if_perfect.mean, 4) + ", " + fixed(q.if_perfect.quantile_95, 4);
    });
  };
  calibration("lambda and c of the model", &Evaluation::before);
  calibration("lambda and c of the calibration pairs", &Evaluation::after);
  if (comparison.difference_by_cluster) {
    const promptcache::AucDifference& difference = *comparison.difference_by_cluster;
    input.more_rows.push_back({"AUC, model - baseline (95 %, by question cluster)",
                               with_limits(difference.auc.value, &difference.auc),
                               "p = " + rounded(difference.p_value)});
  }
}

void add_wrong_hits(ReportInput& input, const WrongHits& hits) {
  const promptcache::ThresholdChoice& choice = hits.choice;
  input.target_wrong_hits = hits.options.target;
  input.confidence = hits.options.confidence;
  input.hits_title = std::string("Wrong hits, for pairs drawn ") + (hits.deployed ? "as deployed" : "like this file");
  const std::string target = trimmed(100 * hits.options.target) + " %";
  const std::string confidence = trimmed(100 * hits.options.confidence) + " %";
  input.hits_sentences.push_back("Thresholds were tested on " + std::to_string(choice.pairs) +
                                 " pairs, one of each question cluster, of " +
                                 (hits.from_calibration ? "half of the calibration pairs" : "these pairs") +
                                 ", from the strictest on until one fails.");
  if (choice.tested.empty()) {
    input.hits_sentences.push_back(
        "Too few pairs to test any: " + target + " at " + confidence + " confidence needs " +
        std::to_string(promptcache::fewest_trials(hits.options.target, hits.options.confidence)) +
        " hits without an error.");
    return;
  }
  input.hits_table.columns = {"threshold", "hits", "wrong", "at most", ""};
  for (const promptcache::HitBound& bound : choice.tested) {
    input.hits_table.rows.push_back({fixed(bound.threshold, 4), std::to_string(bound.hits), std::to_string(bound.wrong),
                                     fixed(100 * bound.upper_bound, 2) + " %",
                                     bound.upper_bound <= hits.options.target ? "passed" : "failed"});
  }
  if (const promptcache::HitBound* recommended = hits.recommended()) {
    input.hits_sentences.push_back("Recommended: serve above " + fixed(recommended->threshold, 6) + ". At most " +
                                   fixed(100 * recommended->upper_bound, 2) + " % of the hits are wrong, with " +
                                   confidence + " confidence.");
  } else if (!choice.chosen) {
    input.hits_sentences.push_back("The strictest threshold fails already: none is shown to keep wrong hits at " +
                                   target + ".");
  } else {
    input.hits_sentences.push_back(
        "No threshold is recommended: only pairs drawn as deployed, a prompt and its nearest cached neighbour, say "
        "what "
        "it would do there.");
  }
  if (hits.judged) {
    input.hits_sentences.push_back("On these pairs: " + std::to_string(hits.judged->hits) + " hits, " +
                                   std::to_string(hits.judged->wrong) + " wrong, at most " +
                                   fixed(100 * hits.judged->upper_bound, 2) + " %.");
  }
}

LearningPicture picture_of(const LearningForecast& forecast) {
  const promptcache::LearningCurve& curve = forecast.curve;
  LearningPicture picture;
  double smallest = curve.largest;
  for (const promptcache::LearningPoint& point : forecast.points) {
    picture.points.push_back({point.pairs, point.error});
    smallest = std::min(smallest, point.pairs);
  }
  constexpr int steps = 60;
  for (int i = 0; i <= steps; ++i) {
    const double pairs = smallest * std::pow(2 * curve.largest / smallest, static_cast<double>(i) / steps);
    const promptcache::IntervalEstimate error = curve.forecast(pairs);
    const bool known = std::isfinite(error.low) && std::isfinite(error.high);
    picture.curve.push_back({pairs, error.value, known ? error.low : error.value, known ? error.high : error.value});
  }
  if (!curve.informative) {
    picture.sentence = "No forecast: " + curve.reason;
    return picture;
  }
  const promptcache::IntervalEstimate twice = curve.forecast(2 * curve.largest);
  picture.sentence = "AUC by the fit " + fixed(1 - curve.at(curve.largest), 4) + " at " + fixed(curve.largest, 0) +
                     " pairs; with twice as many " + fixed(1 - twice.value, 4) + " (" + fixed(1 - twice.high, 4) +
                     " to " + fixed(1 - twice.low, 4) + "), if the power law goes on.";
  return picture;
}

}  // namespace

void add_details(ReportInput& input) {
  const Comparison& comparison = *input.comparison;
  input.model_details = details_of(comparison.model, comparison.wrong_hits);
  if (comparison.baseline) {
    input.baseline_details = details_of(*comparison.baseline, comparison.baseline_wrong_hits);
  }
  add_rows(input);
  if (comparison.wrong_hits) add_wrong_hits(input, *comparison.wrong_hits);
  if (comparison.learning) input.learning = picture_of(*comparison.learning);
}

}  // namespace tool
