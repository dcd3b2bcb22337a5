#include <algorithm>
#include <cmath>
#include <cstdio>

#include "evaluation.hpp"

namespace tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* interval_method = "DeLong, logit scale, 95 %";
constexpr const char* cluster_method = "bootstrap over question clusters, percentiles, 95 %";
constexpr const char* ece_method =
    "bootstrap over question clusters: multiples of the observed gaps under which such an ECE is likely, 95 %";

std::string formatted(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string number(double value, int digits = 4) {
  char text[48];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string number(const std::optional<double>& value) { return value ? number(*value) : "-"; }

std::string percent(double share) { return formatted("%.3g %%", 100 * share); }

std::string interval(const promptcache::IntervalEstimate& estimate) {
  return "(" + number(estimate.low) + " to " + number(estimate.high) + ")";
}

std::string with_interval(double value, const promptcache::IntervalEstimate* estimate) {
  return number(value) + (estimate != nullptr ? " " + interval(*estimate) : "");
}

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(); }
Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

/// Writes NAME_low and NAME_high.
void put_limits(Json& json, const std::string& name, const promptcache::IntervalEstimate* estimate) {
  json[name + "_low"] = estimate != nullptr ? finite(estimate->low) : Json();
  json[name + "_high"] = estimate != nullptr ? finite(estimate->high) : Json();
}

template <class T>
const T* pointer(const std::optional<T>& value) {
  return value ? &*value : nullptr;
}

/// All of a calibration's quality but the ECE and Brier score themselves.
void put_quality(Json& json, const CalibrationQuality* quality) {
  const promptcache::CalibrationIntervals* intervals = quality != nullptr ? pointer(quality->intervals) : nullptr;
  put_limits(json, "ece", intervals != nullptr ? &intervals->ece : nullptr);
  put_limits(json, "brier", intervals != nullptr ? &intervals->brier : nullptr);
  json["p_calibrated"] = intervals != nullptr ? Json(intervals->p_calibrated) : Json();
  json["ece_if_calibrated"] = quality != nullptr ? Json(quality->if_perfect.mean) : Json();
  json["ece_if_calibrated_95"] = quality != nullptr ? Json(quality->if_perfect.quantile_95) : Json();
  json["lambda"] = quality != nullptr ? Json(quality->head.lambda) : Json();
  json["c"] = quality != nullptr ? Json(quality->head.offset) : Json();
}

Json json_of(const Evaluation& evaluation) {
  Json json;
  json["auc"] = evaluation.auc ? Json(evaluation.auc->value) : Json();
  put_limits(json, "auc", pointer(evaluation.auc));
  json["average_precision"] = json_of(evaluation.average_precision);
  json["ece"] = json_of(evaluation.ece);
  json["brier"] = json_of(evaluation.brier);
  json["recall_at_precision_95"] = json_of(evaluation.recall_at_precision_95);
  put_limits(json, "auc_cluster", pointer(evaluation.by_cluster.auc));
  put_limits(json, "average_precision", pointer(evaluation.by_cluster.average_precision));
  put_quality(json, pointer(evaluation.before));
  json["calibrated"] = Json();
  if (evaluation.after) {
    Json after = {{"ece", evaluation.after->ece}, {"brier", evaluation.after->brier}};
    put_quality(after, &*evaluation.after);
    after["fit_pairs"] = evaluation.calibration->fit_pairs;
    json["calibrated"] = std::move(after);
  }
  return json;
}

Json json_of(const promptcache::HitBound& bound) {
  return {
      {"threshold", bound.threshold}, {"hits", bound.hits}, {"wrong", bound.wrong}, {"upper_bound", bound.upper_bound}};
}

Json json_of(const std::vector<promptcache::HitBound>& bounds) {
  Json list = Json::array();
  for (const promptcache::HitBound& bound : bounds) list.push_back(json_of(bound));
  return list;
}

Json json_of(const TrainingBounds& bounds) {
  return {{"of", "E|P - P*|, a derivation of ours, not the paper's"},
          {"training_loss", bounds.loss},
          {"pairs", bounds.pairs},
          {"delta", bounds.delta},
          {"B", bounds.limit},
          {"parameters", bounds.parameters},
          {"log_class_size", bounds.log_class_size},
          {"class", "encoders with as many parameters of 32 bits"},
          {"bce", bounds.bce},
          {"bce_says_something", bounds.bce_says_something()},
          {"bce_pairs_needed", bounds.bce_pairs},
          {"sld", bounds.sld},
          {"sld_says_something", bounds.sld_says_something()},
          {"sld_pairs_needed", bounds.sld_pairs},
          {"measured_low", json_of(bounds.measured_low)},
          {"measured_high", json_of(bounds.measured_high)}};
}

Json json_of(const std::optional<promptcache::AucDifference>& delong,
             const std::optional<promptcache::AucDifference>& by_cluster) {
  if (!delong) return {};
  Json json;
  json["auc"] = delong->auc.value;
  put_limits(json, "auc", &delong->auc);
  json["p_value"] = delong->p_value;
  put_limits(json, "auc_cluster", by_cluster ? &by_cluster->auc : nullptr);
  json["p_value_cluster"] = by_cluster ? Json(by_cluster->p_value) : Json();
  return json;
}

std::string bounds_text(const TrainingBounds& bounds) {
  const auto one = [](double bound, double needed) {
    return formatted("%.3g", bound) +
           (bound < 0.5 ? "" : ", says nothing below " + formatted("%.2g", needed) + " pairs");
  };
  std::string text = "  bound of E|P - P*| (ours, not the paper's) from " + formatted("%.0f", bounds.pairs) +
                     " training pairs: BCE " + one(bounds.bce, bounds.bce_pairs) + "; SLD " +
                     one(bounds.sld, bounds.sld_pairs);
  if (bounds.measured_low) {
    text += "; measured: between " + number(*bounds.measured_low) + " and " + number(*bounds.measured_high);
  }
  return text + "\n";
}

/// At most `most` of the rows: the last two, which tell where it failed, and others evenly.
std::vector<std::size_t> shown_rows(std::size_t rows, std::size_t most) {
  std::vector<std::size_t> shown;
  const std::size_t others = rows > 2 ? rows - 2 : 0;
  const std::size_t taken = std::min(others, most - 2);
  for (std::size_t i = 0; i < taken; ++i) shown.push_back(i * others / taken);
  for (std::size_t i = others; i < rows; ++i) shown.push_back(i);
  return shown;
}

}  // namespace

Json to_json(const WrongHits& hits) {
  Json json;
  json["for"] = hits.deployed ? "pairs drawn as deployed" : "pairs drawn like this file";
  json["deployed"] = hits.deployed;
  json["tested_on"] = hits.from_calibration ? "half of the calibration pairs" : "the judged pairs";
  json["target_wrong_hits"] = hits.options.target;
  json["confidence"] = hits.options.confidence;
  json["pairs"] = hits.choice.pairs;
  json["positives"] = hits.choice.positives;
  json["tested"] = json_of(hits.choice.tested);
  json["untested"] = json_of(hits.choice.untested);
  json["recommended"] = hits.recommended() != nullptr ? json_of(*hits.recommended()) : Json();
  json["judged"] = hits.judged ? json_of(*hits.judged) : Json();
  return json;
}

Json to_json(const LearningForecast& forecast) {
  const promptcache::LearningCurve& curve = forecast.curve;
  const promptcache::IntervalEstimate twice = curve.forecast(2 * curve.largest);
  Json json = {{"formula", "1 - auc = a + b * pairs^-g"}, {"points", Json::array()}};
  for (const promptcache::LearningPoint& point : forecast.points) {
    json["points"].push_back({{"pairs", point.pairs}, {"auc", 1 - point.error}});
  }
  const auto put = [&](const char* name, const promptcache::IntervalEstimate& estimate) {
    json[name] = estimate.value;
    put_limits(json, name, &estimate);
  };
  put("a", curve.a);
  put("b", curve.b);
  put("g", curve.g);
  json["noise"] = finite(curve.noise);
  json["p_flat"] = curve.p_flat;
  json["informative"] = curve.informative;
  json["reason"] = curve.reason;
  json["largest"] = curve.largest;
  json["auc_at_largest"] = 1 - curve.at(curve.largest);
  json["twice"] = Json();
  if (curve.informative) {
    json["twice"] = {{"pairs", 2 * curve.largest},
                     {"auc", 1 - twice.value},
                     {"auc_low", 1 - twice.high},
                     {"auc_high", 1 - twice.low}};
  }
  return json;
}

Json to_json(const Comparison& comparison) {
  Json json;
  json["pairs"] = comparison.pairs;
  json["positives"] = comparison.positives;
  json["truncated"] = comparison.model.truncated;
  json["interval_method"] = interval_method;
  json["cluster_interval_method"] = cluster_method;
  json["ece_interval_method"] = ece_method;
  json["clusters"] = {{"count", comparison.clusters.clusters}, {"largest", comparison.clusters.largest}};
  json["model"] = json_of(comparison.model);
  json["baseline"] = comparison.baseline ? json_of(*comparison.baseline) : Json();
  json["difference"] = json_of(comparison.difference, comparison.difference_by_cluster);
  if (comparison.wrong_hits) {
    json["wrong_hits"] = {
        {"model", to_json(*comparison.wrong_hits)},
        {"baseline", comparison.baseline_wrong_hits ? to_json(*comparison.baseline_wrong_hits) : Json()}};
  }
  json["bounds"] = comparison.bounds ? json_of(*comparison.bounds) : Json();
  if (comparison.learning) json["learning_curve"] = to_json(*comparison.learning);
  if (!comparison.notes.empty()) json["notes"] = comparison.notes;
  return json;
}

std::string wrong_hits_text(const WrongHits& hits) {
  const promptcache::ThresholdChoice& choice = hits.choice;
  char line[192];
  std::snprintf(line, sizeof(line),
                "  wrong hits, for pairs drawn %s: %zu pairs, one of each question cluster, %zu positive\n",
                hits.deployed ? "as deployed" : "like this file", choice.pairs, choice.positives);
  std::string text = line;
  const std::string target = percent(hits.options.target), confidence = percent(hits.options.confidence);
  const std::size_t needed = promptcache::fewest_trials(hits.options.target, hits.options.confidence);
  if (choice.tested.empty()) {
    return text + "    too few pairs to test any threshold: " + target + " at " + confidence + " confidence needs " +
           std::to_string(needed) + " hits without an error\n";
  }
  std::snprintf(line, sizeof(line), "    threshold    hits   wrong   at most (%s)   right hits kept\n",
                confidence.c_str());
  text += line;
  for (const std::size_t row : shown_rows(choice.tested.size(), 12)) {
    const promptcache::HitBound& bound = choice.tested[row];
    const double kept = choice.positives > 0
                            ? static_cast<double>(bound.hits - bound.wrong) / static_cast<double>(choice.positives)
                            : 0;
    std::snprintf(line, sizeof(line), "    %9.4f  %6zu  %6zu   %13s   %15.3f   %s\n", bound.threshold, bound.hits,
                  bound.wrong, percent(bound.upper_bound).c_str(), kept,
                  bound.upper_bound <= hits.options.target ? "passed" : "failed");
    text += line;
  }
  if (!choice.chosen) {
    text += "    the strictest threshold fails already: none is shown to keep wrong hits at " + target +
            "\n    (more than " + std::to_string(choice.tested.front().hits) +
            " hits forgive errors: --first-hits, to be set before looking at the pairs)\n";
  } else if (!hits.deployed) {
    text += "    no threshold is recommended: only pairs drawn as deployed (--deployed) say what it would do there\n";
  } else {
    text += "    recommended: serve above " + number(choice.chosen->threshold, 6) + "; at most " +
            percent(choice.chosen->upper_bound) + " of the hits are wrong, with " + confidence + " confidence\n";
  }
  if (hits.judged) {
    text += "    on the judged pairs: " + std::to_string(hits.judged->hits) + " hits, " +
            std::to_string(hits.judged->wrong) + " wrong, at most " + percent(hits.judged->upper_bound) + "\n";
  }
  return text;
}

std::string learning_text(const LearningForecast& forecast) {
  const promptcache::LearningCurve& curve = forecast.curve;
  std::string text = "  learning curve: " + std::to_string(curve.points) + " points at " + std::to_string(curve.sizes) +
                     " sizes; 1 - AUC = " + formatted("%.3g", curve.a.value) + " + " +
                     formatted("%.3g", curve.b.value) + " n^-" + formatted("%.3g", curve.g.value) + "\n";
  if (!curve.informative) return text + "    no forecast: " + curve.reason + "\n";
  const promptcache::IntervalEstimate twice = curve.forecast(2 * curve.largest);
  text +=
      "    a " + interval(curve.a) + ", g " + interval(curve.g) + ", noise " + formatted("%.2g", curve.noise) + "\n";
  return text + "    AUC by the fit " + number(1 - curve.at(curve.largest)) + " at " +
         formatted("%.0f", curve.largest) + " pairs; with twice as many " + number(1 - twice.value) + " (" +
         number(1 - twice.high) + " to " + number(1 - twice.low) + "), if the power law goes on\n";
}

std::string table_text(const std::string& model_name, const std::string& baseline_name, const Comparison& comparison) {
  std::string text = std::to_string(comparison.pairs) + " pairs, " + std::to_string(comparison.positives) +
                     " positive, " + std::to_string(comparison.clusters.clusters) +
                     " question clusters (the largest of " + std::to_string(comparison.clusters.largest) +
                     " pairs)\n  intervals: " + interval_method + "; by cluster, ECE and Brier: resampled clusters\n";
  char line[256];
  const auto row = [&](const char* measure, const std::string& model, const std::string& baseline) {
    std::snprintf(line, sizeof(line), "  %-24s %-28s %s", measure, model.c_str(), baseline.c_str());
    std::string row_text = line;
    row_text.erase(row_text.find_last_not_of(' ') + 1);
    text += row_text + "\n";
  };
  const Evaluation* baseline = comparison.baseline ? &*comparison.baseline : nullptr;
  const auto both = [&](const char* measure, auto&& value_of) {
    row(measure, value_of(comparison.model), baseline != nullptr ? value_of(*baseline) : "");
  };
  row("", "model", baseline != nullptr ? "baseline" : "");
  both("AUC", [](const Evaluation& e) { return e.auc ? with_interval(e.auc->value, &*e.auc) : "-"; });
  both("  by cluster",
       [](const Evaluation& e) { return e.by_cluster.auc ? "       " + interval(*e.by_cluster.auc) : "-"; });
  both("average precision", [](const Evaluation& e) {
    return e.average_precision ? with_interval(*e.average_precision, pointer(e.by_cluster.average_precision)) : "-";
  });
  both("recall at 95 % precision", [](const Evaluation& e) { return number(e.recall_at_precision_95); });
  const auto calibration_rows = [&](const char* state, std::optional<CalibrationQuality> Evaluation::*quality) {
    if (!(comparison.model.*quality) && !(baseline != nullptr && baseline->*quality)) return;  // a note says why
    const auto rows_of = [&](const std::string& measure, auto&& value_of) {
      both((measure + state).c_str(), [&](const Evaluation& e) { return e.*quality ? value_of(*(e.*quality)) : "-"; });
    };
    rows_of("ECE (15 bins)", [](const CalibrationQuality& q) {
      return with_interval(q.ece, q.intervals ? &q.intervals->ece : nullptr);
    });
    rows_of("Brier", [](const CalibrationQuality& q) {
      return with_interval(q.brier, q.intervals ? &q.intervals->brier : nullptr);
    });
    rows_of("ECE if perfect", [](const CalibrationQuality& q) {
      return number(q.if_perfect.mean) + ", 95 %: " + number(q.if_perfect.quantile_95);
    });
  };
  const bool calibrated = comparison.model.calibration.has_value();
  calibration_rows(calibrated ? ", before" : "", &Evaluation::before);
  if (calibrated) calibration_rows(", after", &Evaluation::after);
  const auto difference_row = [&](const char* measure, const promptcache::AucDifference& difference) {
    row(measure, with_interval(difference.auc.value, &difference.auc), "p = " + formatted("%.3g", difference.p_value));
  };
  if (comparison.difference) difference_row("AUC difference", *comparison.difference);
  if (comparison.difference_by_cluster) difference_row("  by cluster", *comparison.difference_by_cluster);
  text += "  model: " + model_name + "\n";
  if (baseline != nullptr) text += "  baseline: " + baseline_name + "\n";

  // Ten thresholds along the recall tell what a cache would do without drowning the reader.
  if (!comparison.model.curve.empty()) {
    text += "  threshold   hits   precision   recall\n";
    std::size_t shown = 0;
    for (const promptcache::CurvePoint& point : comparison.model.curve) {
      const bool last = &point == &comparison.model.curve.back();
      if (point.recall * 10 < static_cast<double>(shown + 1) && !last) continue;
      shown = static_cast<std::size_t>(point.recall * 10);
      std::snprintf(line, sizeof(line), "  %9.4f  %5zu      %.4f   %.4f\n", point.threshold, point.hits,
                    point.precision, point.recall);
      text += line;
      if (point.recall >= 1) break;
    }
  }
  if (comparison.wrong_hits) text += wrong_hits_text(*comparison.wrong_hits);
  if (comparison.model.calibration) {
    const promptcache::CalibrationResult& calibration = *comparison.model.calibration;
    text += "  calibration: " + std::to_string(calibration.fit_pairs) + " of " + std::to_string(calibration.pairs) +
            " pairs for lambda and c, the other question clusters for the threshold\n";
    if (calibration.head) {
      text += "  lambda " + formatted("%.6g", calibration.head->lambda) + ", c " +
              formatted("%.6g", calibration.head->offset) + " (pc-calibrate writes them)\n";
    }
  }
  if (comparison.bounds) text += bounds_text(*comparison.bounds);
  if (comparison.learning) text += learning_text(*comparison.learning);
  for (const std::string& note : comparison.notes) text += "  note: " + note + "\n";
  return text;
}

std::string curve_csv(const Evaluation& evaluation) {
  std::string text = "threshold,precision,recall,hits,true_hits\n";
  char line[160];
  for (const promptcache::CurvePoint& point : evaluation.curve) {
    std::snprintf(line, sizeof(line), "%.9g,%.9g,%.9g,%zu,%zu\n", point.threshold, point.precision, point.recall,
                  point.hits, point.true_hits);
    text += line;
  }
  return text;
}

}  // namespace tool
