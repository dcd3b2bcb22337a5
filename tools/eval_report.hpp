#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "evaluation.hpp"
#include "page.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "provenance.hpp"
#include "stream.hpp"

namespace tool {

/// Pointwise 95 % limits of a curve; empty: none are drawn.
struct Band {
  std::vector<double> at, low, high;
};

/// What was found out about one model beside its `Evaluation`; what is empty has no place on the page.
struct ModelDetails {
  Band roc;                                                  ///< positives served, at shares of negatives served
  Band precision;                                            ///< at recalls
  std::vector<promptcache::CalibrationBin> calibrated_bins;  ///< with lambda and c fitted to other pairs

  /// A threshold that was tested: the share of pairs it serves, in [0, 1], and its bound on wrong hits.
  struct Tested {
    double kept = 0, bound = 0;
  };
  std::vector<Tested> hit_bounds;  ///< by rising share; when empty the page computes them on its pairs
  std::optional<Tested> chosen;
};

/// An error against the number of training pairs.
struct LearningPicture {
  std::vector<std::array<double, 2>> points;  ///< pairs, error
  std::vector<std::array<double, 4>> curve;   ///< pairs, error, low, high; no limits: low = high = error
  std::string sentence;
};

/// What the page shows.
struct ReportInput {
  std::string model_name, baseline_name, pairs_name;
  const std::vector<promptcache::Pair>* pairs = nullptr;
  const Comparison* comparison = nullptr;
  std::optional<StreamSweep> model_stream, baseline_stream;

  ModelDetails model_details, baseline_details;
  std::vector<std::array<std::string, 3>> more_rows;  ///< for the table: measure, model, baseline
  double target_wrong_hits = 0.02;
  double confidence = 0.95;
  std::string hits_title = "Wrong hits, for pairs drawn like this file";
  Table hits_table;                         ///< thresholds that were tested; without columns: none
  std::vector<std::string> hits_sentences;  ///< what follows from them
  std::optional<LearningPicture> learning;
  Provenance provenance;  ///< when empty: the models and the pair file
};

/// Takes what the comparison found out beyond its measures onto the page: bands, intervals by question cluster,
/// calibration before and after, thresholds that were tested, the learning curve.
void add_details(ReportInput& input);

/// The page of pc-eval: the measures, ROC and precision with bands, similarities by label, reliability, a bound on
/// wrong hits against hits kept, the learning curve, a stream, the worst errors, provenance.
Page evaluation_page(const ReportInput& input);

}  // namespace tool
