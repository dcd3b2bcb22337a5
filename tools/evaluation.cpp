#include "evaluation.hpp"

#include <algorithm>
#include <cmath>

#include "model_origin.hpp"
#include "model_scores.hpp"
#include "promptcache/eval/sample_bounds.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/pairs/split.hpp"

namespace tool {
namespace {

using promptcache::Pair;

constexpr std::size_t bins = 15;

std::vector<std::uint8_t> positives_of(const std::vector<Pair>& pairs) {
  std::vector<std::uint8_t> flags;
  for (const Pair& pair : pairs) flags.push_back(pair.positive() ? 1 : 0);
  return flags;
}

std::vector<double> labels_of(const std::vector<Pair>& pairs) {
  std::vector<double> labels;
  for (const Pair& pair : pairs) labels.push_back(pair.label);
  return labels;
}

std::optional<double> defined(double value) { return std::isfinite(value) ? std::optional(value) : std::nullopt; }

/// The judged pairs as the library's functions take them.
struct Judged {
  std::vector<std::uint8_t> positive;
  std::vector<double> labels;
  std::vector<std::size_t> clusters;
};

CalibrationQuality quality_of(const promptcache::Calibration& head, const Evaluation& evaluation, const Judged& judged,
                              const promptcache::BootstrapOptions& bootstrap) {
  std::vector<double> probabilities;
  for (const double similarity : evaluation.similarities) probabilities.push_back(head.probability(similarity));
  CalibrationQuality quality;
  quality.head = head;
  quality.bins = promptcache::calibration_bins(probabilities, judged.labels, bins);
  quality.ece = expected_calibration_error(quality.bins);
  quality.brier = promptcache::brier_score(probabilities, judged.labels);
  quality.intervals =
      promptcache::bootstrap_calibration(probabilities, judged.labels, judged.clusters, bins, bootstrap);
  quality.if_perfect = promptcache::simulate_calibrated_ece(probabilities, bins, bootstrap);
  return quality;
}

/// What is resampled or fitted for one model.
void diagnose(Evaluation& evaluation, const Judged& judged, const ComparisonOptions& options,
              const std::vector<std::size_t>& calibration_clusters) {
  promptcache::BootstrapOptions with_bands = options.bootstrap;
  with_bands.band_points = 100;
  if (evaluation.auc) {
    evaluation.by_cluster =
        promptcache::bootstrap_ranking(evaluation.similarities, judged.positive, judged.clusters, with_bands);
  }
  if (options.calibration != nullptr) {
    evaluation.calibration = promptcache::calibrate(
        evaluation.calibration_similarities, labels_of(*options.calibration), calibration_clusters, options.hits);
  }
  if (evaluation.head) {
    evaluation.before = quality_of(*evaluation.head, evaluation, judged, options.bootstrap);
    evaluation.bins = evaluation.before->bins;
    evaluation.ece = evaluation.before->ece;
    evaluation.brier = evaluation.before->brier;
  }
  if (evaluation.calibration && evaluation.calibration->head) {
    evaluation.after = quality_of(*evaluation.calibration->head, evaluation, judged, options.bootstrap);
  }
}

WrongHits wrong_hits_of(const Evaluation& evaluation, const Judged& judged, const ComparisonOptions& options) {
  WrongHits result;
  result.options = options.hits;
  result.deployed = options.deployed;
  result.from_calibration = evaluation.calibration.has_value();
  result.choice = evaluation.calibration ? evaluation.calibration->thresholds
                                         : promptcache::choose_threshold_by_cluster(
                                               evaluation.similarities, judged.positive, judged.clusters, options.hits);
  if (const promptcache::HitBound* chosen = result.recommended(); chosen != nullptr && result.from_calibration) {
    result.judged = promptcache::judge_threshold_by_cluster(chosen->threshold, evaluation.similarities, judged.positive,
                                                            judged.clusters, options.hits.confidence);
  }
  return result;
}

std::optional<TrainingBounds> bounds_of(const std::string& directory, const Evaluation& model) {
  const std::optional<ModelOrigin> origin = read_origin(directory);
  if (!origin) return std::nullopt;
  TrainingBounds bounds;
  bounds.loss = origin->loss;
  bounds.pairs = origin->training_pairs;
  bounds.parameters = origin->parameters;
  bounds.limit = promptcache::log_probability_limit(origin->training_head);
  bounds.log_class_size = promptcache::log_class_size_of_weights(bounds.parameters);
  bounds.bce = promptcache::bound_bce(bounds.pairs, bounds.limit, bounds.log_class_size, bounds.delta);
  bounds.sld = promptcache::bound_sld(bounds.pairs, bounds.limit, bounds.log_class_size, bounds.delta);
  constexpr double guessing = 0.5;
  bounds.bce_pairs = promptcache::pairs_for_bound_bce(guessing, bounds.limit, bounds.log_class_size, bounds.delta);
  bounds.sld_pairs = promptcache::pairs_for_bound_sld(guessing, bounds.limit, bounds.log_class_size, bounds.delta);
  if (model.ece && model.brier) {
    bounds.measured_low = model.ece;
    bounds.measured_high = std::sqrt(*model.brier);
  }
  return bounds;
}

void note_calibration(const char* name, const Evaluation& evaluation, std::vector<std::string>& notes) {
  if (!evaluation.before) {
    notes.push_back(std::string("ECE and Brier of the ") + name +
                    " are undefined: its promptcache.json has no lambda and c" +
                    (evaluation.calibration ? "." : ", and nothing is fitted here without --calibration."));
  }
  if (evaluation.calibration && !evaluation.calibration->head) {
    notes.push_back(std::string("No lambda and c could be fitted for the ") + name + ": " +
                    evaluation.calibration->no_head + ".");
  }
}

void note_clusters(const Comparison& comparison, std::vector<std::string>& notes) {
  if (comparison.clusters.clusters < 2) {
    notes.push_back("All pairs are linked by common questions, so there are no intervals by cluster.");
  } else if (2 * comparison.clusters.largest > comparison.pairs) {
    notes.push_back("One question cluster holds " + std::to_string(comparison.clusters.largest) + " of the " +
                    std::to_string(comparison.pairs) +
                    " pairs: intervals by cluster say little, and a bound on wrong hits counts it as one pair.");
  } else if (comparison.clusters.clusters < 30) {
    notes.push_back("Only " + std::to_string(comparison.clusters.clusters) +
                    " question clusters: intervals by cluster are rough.");
  }
}

}  // namespace

Evaluation evaluate(const std::string& model_directory, const promptcache::PairFile& pairs,
                    const promptcache::PairFile* calibration, const promptcache::EmbedderOptions& options,
                    const promptcache::ProgressCallback& progress, const std::string& scorer_directory) {
  const ModelScores scores(model_directory, options, scorer_directory);
  promptcache::PairSimilarities similarities = scores(pairs, progress);
  const std::vector<std::uint8_t> positive = positives_of(pairs.pairs);

  Evaluation result;
  result.similarities = std::move(similarities.values);
  result.truncated = similarities.truncated_texts;
  if (calibration != nullptr) {
    result.calibration_similarities = scores(*calibration, progress).values;
  }
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
  if (extras.lambda && extras.offset) result.head = {*extras.lambda, *extras.offset};
  if (!scorer_directory.empty()) result.head = promptcache::Calibration{1, 0};  // scores are log-odds
  return result;
}

Comparison compare(const std::vector<Pair>& pairs, Evaluation model, std::optional<Evaluation> baseline,
                   const ComparisonOptions& options) {
  const Judged judged{positives_of(pairs), labels_of(pairs), promptcache::components_of(pairs)};
  const std::vector<std::size_t> calibration_clusters =
      options.calibration != nullptr ? promptcache::components_of(*options.calibration) : std::vector<std::size_t>();
  Comparison result;
  result.pairs = pairs.size();
  result.positives = static_cast<std::size_t>(std::count(judged.positive.begin(), judged.positive.end(), 1));
  result.clusters = promptcache::cluster_sizes(judged.clusters);
  result.model = std::move(model);
  result.baseline = std::move(baseline);

  diagnose(result.model, judged, options, calibration_clusters);
  result.wrong_hits = wrong_hits_of(result.model, judged, options);
  if (result.baseline) {
    diagnose(*result.baseline, judged, options, calibration_clusters);
    result.baseline_wrong_hits = wrong_hits_of(*result.baseline, judged, options);
    const std::vector<double>& first = result.model.similarities;
    const std::vector<double>& second = result.baseline->similarities;
    result.difference = promptcache::roc_auc_difference(first, second, judged.positive);
    result.difference_by_cluster =
        promptcache::bootstrap_auc_difference(first, second, judged.positive, judged.clusters, options.bootstrap);
  }
  if (!options.model_directory.empty()) result.bounds = bounds_of(options.model_directory, result.model);

  if (!result.model.auc) {
    result.notes.push_back(std::string("AUC, average precision and recall are undefined: all pairs are ") +
                           (result.positives == 0 ? "negative" : "positive") + ".");
  }
  note_calibration("model", result.model, result.notes);
  if (result.baseline) note_calibration("baseline", *result.baseline, result.notes);
  if (result.baseline && !result.difference && result.model.auc) {
    result.notes.push_back("The difference needs at least two pairs of each class.");
  }
  note_clusters(result, result.notes);
  if (options.calibration != nullptr) {
    const std::size_t shared = promptcache::shared_questions(pairs, *options.calibration);
    if (shared > 0) {
      result.notes.push_back(std::to_string(shared) +
                             " questions of the calibration pairs occur in the judged pairs too: what is said about "
                             "calibration and thresholds there is too good.");
    }
  }
  if (result.model.truncated > 0) {
    result.notes.push_back(std::to_string(result.model.truncated) +
                           " distinct texts were longer than the window and were cut.");
  }
  return result;
}

}  // namespace tool
