#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/eval/classification.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace tool {

/// What one model makes of a pair file. A measure that is undefined there is empty.
struct Evaluation {
  std::vector<double> similarities;
  std::size_t truncated = 0;  ///< distinct texts longer than the window
  std::vector<promptcache::CurvePoint> curve;
  std::optional<promptcache::IntervalEstimate> auc;
  std::optional<double> average_precision, recall_at_precision_95;
  std::vector<promptcache::CalibrationBin> bins;  ///< need lambda and c of the model, as do the next two
  std::optional<double> ece, brier;
};

/// Everything pc-eval reports.
struct Comparison {
  std::size_t pairs = 0;
  std::size_t positives = 0;
  Evaluation model;
  std::optional<Evaluation> baseline;
  std::optional<promptcache::AucDifference> difference;  ///< model minus baseline
  std::vector<std::string> notes;                        ///< why a measure is missing
};

Evaluation evaluate(const std::string& model_directory, const std::vector<promptcache::Pair>& pairs,
                    const promptcache::EmbedderOptions& options, const promptcache::ProgressCallback& progress);

Comparison compare(const std::vector<promptcache::Pair>& pairs, Evaluation model, std::optional<Evaluation> baseline);

/// The machine form; undefined measures are null.
nlohmann::ordered_json to_json(const Comparison& comparison);

/// The human form.
std::string table_text(const std::string& model_name, const std::string& baseline_name, const Comparison& comparison);

/// threshold, precision, recall, hits, true_hits; one row a distinct similarity.
std::string curve_csv(const Evaluation& evaluation);

}  // namespace tool
