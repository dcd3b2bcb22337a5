#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/eval/calibrate.hpp"
#include "promptcache/eval/classification.hpp"
#include "promptcache/eval/cluster_bootstrap.hpp"
#include "promptcache/eval/hit_bound.hpp"
#include "promptcache/eval/learning_curve.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace tool {

/// How well probabilities of one lambda and c fit the judged pairs.
struct CalibrationQuality {
  promptcache::Calibration head;
  std::vector<promptcache::CalibrationBin> bins;
  double ece = 0, brier = 0;
  std::optional<promptcache::CalibrationIntervals> intervals;  ///< by cluster; empty with fewer than two clusters
  promptcache::CalibratedEce if_perfect;  ///< the ECE that a perfectly calibrated model would show at this size
};

/// What one model makes of a pair file. A measure that is undefined there is empty.
struct Evaluation {
  std::vector<double> similarities;              ///< of the judged pairs
  std::vector<double> calibration_similarities;  ///< of the calibration pairs, when there are some
  std::size_t truncated = 0;                     ///< distinct texts longer than the window
  std::vector<promptcache::CurvePoint> curve;
  std::optional<promptcache::IntervalEstimate> auc;  ///< DeLong
  std::optional<double> average_precision, recall_at_precision_95;
  std::vector<promptcache::CalibrationBin> bins;  ///< with the model's own lambda and c, as are the next two
  std::optional<double> ece, brier;

  std::optional<promptcache::Calibration> head;               ///< the model's own lambda and c
  promptcache::RankingIntervals by_cluster;                   ///< AUC and average precision, bands of ROC and precision
  std::optional<CalibrationQuality> before;                   ///< with the model's own lambda and c
  std::optional<CalibrationQuality> after;                    ///< with those fitted to the calibration pairs
  std::optional<promptcache::CalibrationResult> calibration;  ///< what the calibration pairs said
};

/// Upper bounds on wrong hits among hits. For pairs that are drawn like the file only; a threshold is recommended only
/// when these are drawn as deployed.
struct WrongHits {
  promptcache::HitBoundOptions options;
  bool deployed = false;
  bool from_calibration = false;  ///< tested on half of the calibration pairs; otherwise on the judged ones
  promptcache::ThresholdChoice choice;
  std::optional<promptcache::HitBound> judged;  ///< the chosen threshold on the judged pairs; deployed and calibrated

  /// The threshold to deploy, if there is one.
  const promptcache::HitBound* recommended() const { return deployed && choice.chosen ? &*choice.chosen : nullptr; }
};

/// The bounds of eval/sample_bounds.hpp for the training that made a model, beside what was measured.
struct TrainingBounds {
  std::string loss;           ///< that the model was trained with
  double pairs = 0;           ///< N
  double limit = 0;           ///< B
  double parameters = 0;      ///< of the encoder
  double log_class_size = 0;  ///< 32 bits * parameters * log 2
  double delta = 0.05;
  double bce = 0, sld = 0;                            ///< bounds of E|P^ - P*|; SLD's is for soft labels only
  double bce_pairs = 0, sld_pairs = 0;                ///< pairs from which on they are below 1/2, what guessing gives
  std::optional<double> measured_low, measured_high;  ///< ECE and root of Brier of the judged pairs, which enclose it

  bool bce_says_something() const { return bce < 0.5; }
  bool sld_says_something() const { return sld < 0.5; }
};

/// A learning curve read from a file, and what twice the labels would bring.
struct LearningForecast {
  std::vector<promptcache::LearningPoint> points;
  promptcache::LearningCurve curve;
};

/// Everything pc-eval reports.
struct Comparison {
  std::size_t pairs = 0;
  std::size_t positives = 0;
  Evaluation model;
  std::optional<Evaluation> baseline;
  std::optional<promptcache::AucDifference> difference;  ///< model minus baseline, DeLong
  std::vector<std::string> notes;                        ///< why a measure is missing, and what to beware of

  promptcache::ClusterSizes clusters;  ///< question clusters of the pairs
  std::optional<promptcache::AucDifference> difference_by_cluster;
  std::optional<WrongHits> wrong_hits, baseline_wrong_hits;
  std::optional<TrainingBounds>
      bounds;  ///< of the model; empty when its promptcache.json does not say how it came about
  std::optional<LearningForecast> learning;  ///< of --learning-curve
};

/// What `compare` is to find out beside the measures.
struct ComparisonOptions {
  promptcache::HitBoundOptions hits;
  bool deployed = false;
  promptcache::BootstrapOptions bootstrap;
  const std::vector<promptcache::Pair>* calibration = nullptr;  ///< disjoint pairs, or none
  std::string model_directory;                                  ///< for the bounds; empty: none
};

/// Scores the pairs, and the calibration pairs when there are some, and measures what needs one model only. With a
/// `scorer_directory` the model is the cascade of the two.
Evaluation evaluate(const std::string& model_directory, const promptcache::PairFile& pairs,
                    const promptcache::PairFile* calibration, const promptcache::EmbedderOptions& options,
                    const promptcache::ProgressCallback& progress, const std::string& scorer_directory = "");

/// Resamples, tests thresholds and compares; fills what `evaluate` left empty.
Comparison compare(const std::vector<promptcache::Pair>& pairs, Evaluation model, std::optional<Evaluation> baseline,
                   const ComparisonOptions& options);

/// The machine form; undefined measures are null.
nlohmann::ordered_json to_json(const Comparison& comparison);
nlohmann::ordered_json to_json(const LearningForecast& forecast);
nlohmann::ordered_json to_json(const WrongHits& hits);

/// The human form.
std::string table_text(const std::string& model_name, const std::string& baseline_name, const Comparison& comparison);
std::string learning_text(const LearningForecast& forecast);

/// Tested thresholds, at most twelve rows, and what follows.
std::string wrong_hits_text(const WrongHits& hits);

/// threshold, precision, recall, hits, true_hits; one row a distinct similarity.
std::string curve_csv(const Evaluation& evaluation);

}  // namespace tool
