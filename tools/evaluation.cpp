#include "evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/eval/platt.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/pairs/similarity.hpp"

namespace tool {
namespace {

using promptcache::Pair;
using Json = nlohmann::ordered_json;

constexpr const char* interval_method = "DeLong, logit scale, 95 %";

std::vector<std::uint8_t> positives_of(const std::vector<Pair>& pairs) {
  std::vector<std::uint8_t> flags;
  for (const Pair& pair : pairs) flags.push_back(pair.positive() ? 1 : 0);
  return flags;
}

std::optional<double> defined(double value) { return std::isfinite(value) ? std::optional(value) : std::nullopt; }

std::string number(double value, int digits = 4) {
  char text[48];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string number(const std::optional<double>& value) { return value ? number(*value) : "-"; }

std::string interval(const promptcache::IntervalEstimate& estimate) {
  return number(estimate.low) + " to " + number(estimate.high);
}

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json json_of(const Evaluation& evaluation) {
  Json json;
  json["auc"] = evaluation.auc ? Json(evaluation.auc->value) : Json();
  json["auc_low"] = evaluation.auc ? Json(evaluation.auc->low) : Json();
  json["auc_high"] = evaluation.auc ? Json(evaluation.auc->high) : Json();
  json["average_precision"] = json_of(evaluation.average_precision);
  json["ece"] = json_of(evaluation.ece);
  json["brier"] = json_of(evaluation.brier);
  json["recall_at_precision_95"] = json_of(evaluation.recall_at_precision_95);
  return json;
}

}  // namespace

Evaluation evaluate(const std::string& model_directory, const std::vector<Pair>& pairs,
                    const promptcache::EmbedderOptions& options, const promptcache::ProgressCallback& progress) {
  const auto embedder = promptcache::TransformerEmbedder::open(model_directory, options);
  promptcache::PairSimilarities similarities = pair_similarities(*embedder, pairs, options.parallel_callers, progress);
  const std::vector<std::uint8_t> positive = positives_of(pairs);

  Evaluation result;
  result.similarities = std::move(similarities.values);
  result.truncated = similarities.truncated_texts;
  result.auc = promptcache::roc_auc_interval(result.similarities, positive);
  if (!result.auc) {  // one member in a class has an AUC, but no interval
    if (const auto value = defined(promptcache::roc_auc(result.similarities, positive))) {
      result.auc = {*value, 0, 1};
    }
  }
  const bool both_classes = result.auc.has_value();
  result.curve = promptcache::precision_recall_curve(result.similarities, positive);
  if (both_classes) {
    result.average_precision = defined(average_precision(result.curve));
    result.recall_at_precision_95 = defined(recall_at_precision(result.curve, 0.95));
  }
  const promptcache::ModelExtras extras = promptcache::ModelDirectory::open(model_directory).extras();
  if (extras.lambda && extras.offset) {
    const promptcache::Calibration head{*extras.lambda, *extras.offset};
    std::vector<double> probabilities;
    std::vector<double> labels;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      probabilities.push_back(head.probability(result.similarities[i]));
      labels.push_back(pairs[i].label);
    }
    result.bins = promptcache::calibration_bins(probabilities, labels);
    result.ece = expected_calibration_error(result.bins);
    result.brier = promptcache::brier_score(probabilities, labels);
  }
  return result;
}

Comparison compare(const std::vector<Pair>& pairs, Evaluation model, std::optional<Evaluation> baseline) {
  Comparison result;
  const std::vector<std::uint8_t> positive = positives_of(pairs);
  result.pairs = pairs.size();
  result.positives = static_cast<std::size_t>(std::count(positive.begin(), positive.end(), 1));
  result.model = std::move(model);
  result.baseline = std::move(baseline);
  if (result.baseline) {
    result.difference =
        promptcache::roc_auc_difference(result.model.similarities, result.baseline->similarities, positive);
  }
  if (!result.model.auc) {
    result.notes.push_back(std::string("AUC, average precision and recall are undefined: all pairs are ") +
                           (result.positives == 0 ? "negative" : "positive") + ".");
  }
  const auto note_head = [&](const char* name, const Evaluation& evaluation) {
    if (!evaluation.ece) {
      result.notes.push_back(std::string("ECE and Brier of the ") + name +
                             " are undefined: its promptcache.json has no lambda and c, and nothing is fitted here.");
    }
  };
  note_head("model", result.model);
  if (result.baseline) note_head("baseline", *result.baseline);
  if (result.baseline && !result.difference && result.model.auc) {
    result.notes.push_back("The difference needs at least two pairs of each class.");
  }
  if (result.model.truncated > 0) {
    result.notes.push_back(std::to_string(result.model.truncated) +
                           " distinct texts were longer than the window and were cut.");
  }
  return result;
}

Json to_json(const Comparison& comparison) {
  Json json;
  json["pairs"] = comparison.pairs;
  json["positives"] = comparison.positives;
  json["truncated"] = comparison.model.truncated;
  json["interval_method"] = interval_method;
  json["model"] = json_of(comparison.model);
  json["baseline"] = comparison.baseline ? json_of(*comparison.baseline) : Json();
  json["difference"] = Json();
  if (comparison.difference) {
    const promptcache::AucDifference& difference = *comparison.difference;
    json["difference"] = {{"auc", difference.auc.value},
                          {"auc_low", difference.auc.low},
                          {"auc_high", difference.auc.high},
                          {"p_value", difference.p_value}};
  }
  if (!comparison.notes.empty()) json["notes"] = comparison.notes;
  return json;
}

std::string table_text(const std::string& model_name, const std::string& baseline_name, const Comparison& comparison) {
  std::string text = std::to_string(comparison.pairs) + " pairs, " + std::to_string(comparison.positives) +
                     " positive; intervals: " + interval_method + "\n";
  char line[256];
  const auto row = [&](const char* measure, const std::string& model, const std::string& baseline) {
    std::snprintf(line, sizeof(line), "  %-24s %-28s %s", measure, model.c_str(), baseline.c_str());
    std::string row_text = line;
    row_text.erase(row_text.find_last_not_of(' ') + 1);
    text += row_text + "\n";
  };
  const auto auc_text = [](const Evaluation& evaluation) {
    return evaluation.auc ? number(evaluation.auc->value) + " (" + interval(*evaluation.auc) + ")" : "-";
  };
  const Evaluation* baseline = comparison.baseline ? &*comparison.baseline : nullptr;
  const auto both = [&](const char* measure, auto&& value_of) {
    row(measure, value_of(comparison.model), baseline != nullptr ? value_of(*baseline) : "");
  };
  row("", "model", baseline != nullptr ? "baseline" : "");
  both("AUC", auc_text);
  both("average precision", [](const Evaluation& e) { return number(e.average_precision); });
  both("recall at 95 % precision", [](const Evaluation& e) { return number(e.recall_at_precision_95); });
  both("ECE (15 bins)", [](const Evaluation& e) { return number(e.ece); });
  both("Brier", [](const Evaluation& e) { return number(e.brier); });
  if (comparison.difference) {
    char p_value[32];
    std::snprintf(p_value, sizeof(p_value), "%.3g", comparison.difference->p_value);
    row("AUC difference", number(comparison.difference->auc.value) + " (" + interval(comparison.difference->auc) + ")",
        std::string("p = ") + p_value);
  }
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
