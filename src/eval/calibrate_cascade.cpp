#include "promptcache/eval/calibrate_cascade.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "eval/extras_file.hpp"
#include "eval/resampling.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/eval/calibrate.hpp"

namespace promptcache {
namespace {

constexpr double vetoed = -40;  // log-odds that no evidence reaches

double log_odds_of(double probability) {
  constexpr double least = 1e-15;
  const double p = std::clamp(probability, least, 1 - least);
  return std::log(p / (1 - p));
}

/// As CascadePolicy computes it; none of vetoed evidence.
std::optional<double> probability_of(const LogisticEvidence& model, const Evidence& evidence, const Guards* guards) {
  if (guards != nullptr && evidence.guards && guards->veto(GuardFlags::from_bits(*evidence.guards))) return {};
  return model.probability(evidence);
}

/// A cell of an optional column; empty when the column or its value is absent.
std::optional<double> number_in(const PairFile& file, std::size_t row, std::size_t column, double least) {
  if (column == PairFile::npos || file.rows[row][column].empty()) return {};
  const std::string& cell = file.rows[row][column];
  double value = 0;
  const auto [end, status] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (status != std::errc() || end != cell.data() + cell.size() || !(value >= least && value <= 1)) {
    throw Error(ErrorCode::format, {file.path, file.pairs[row].line},
                "'" + cell + "' in column " + file.columns[column],
                "a number from " + std::to_string(static_cast<int>(least)) + " to 1");
  }
  return value;
}

}  // namespace

std::vector<Evidence> evidence_of_pairs(const PairFile& file, std::span<const double> similarities,
                                        std::span<const double> logits, const Guards* guards) {
  if (similarities.size() != file.pairs.size() || (!logits.empty() && logits.size() != file.pairs.size())) {
    throw Error(ErrorCode::usage, {file.path},
                std::to_string(file.pairs.size()) + " pairs, " + std::to_string(similarities.size()) +
                    " similarities, " + std::to_string(logits.size()) + " logits",
                "as many of each");
  }
  const std::size_t next = file.column("next_similarity"), agreement = file.column("agreement");
  std::vector<Evidence> result;
  result.reserve(file.pairs.size());
  for (std::size_t i = 0; i < file.pairs.size(); ++i) {
    const Pair& pair = file.pairs[i];
    Evidence evidence;
    evidence.similarity = similarities[i];
    evidence.next_similarity = number_in(file, i, next, -1);
    evidence.agreement = number_in(file, i, agreement, 0);
    evidence.prompt_bytes = static_cast<std::uint32_t>(pair.q1.size());
    evidence.candidate_bytes = static_cast<std::uint32_t>(pair.q2.size());
    if (!logits.empty()) evidence.pair_logit = logits[i];
    if (guards != nullptr) evidence.guards = guards->flags(pair.q1, pair.q2).bits();
    result.push_back(evidence);
  }
  return result;
}

std::vector<double> cascade_scores(const LogisticEvidence& model, std::span<const Evidence> evidence,
                                   const Guards* guards) {
  std::vector<double> scores;
  scores.reserve(evidence.size());
  for (const Evidence& each : evidence) {
    const std::optional<double> probability = probability_of(model, each, guards);
    scores.push_back(probability ? log_odds_of(*probability) : vetoed);
  }
  return scores;
}

CascadeCalibration calibrate_cascade(std::span<const Evidence> evidence, std::span<const double> labels,
                                     std::span<const std::size_t> clusters, const Guards* guards,
                                     const HitBoundOptions& options, std::uint64_t seed) {
  if (evidence.size() != labels.size() || clusters.size() != labels.size() || labels.empty()) {
    throw Error(ErrorCode::usage, {"calibration pairs"},
                std::to_string(evidence.size()) + " pieces of evidence, " + std::to_string(labels.size()) +
                    " labels, " + std::to_string(clusters.size()) + " clusters",
                "as many of each, at least one");
  }
  const auto [fit, test] = halves_by_cluster(clusters, seed);
  CascadeCalibration result;
  result.pairs = labels.size();
  dense_numbers(clusters, result.clusters);
  result.fit_pairs = fit.size();
  result.model = fit_evidence(picked(evidence, fit), picked(labels, fit));

  std::vector<Evidence> tested = picked(evidence, test);
  const auto choose = [&] {
    std::vector<double> probabilities;
    for (const Evidence& each : tested)
      probabilities.push_back(probability_of(result.model, each, guards).value_or(-1));
    return choose_threshold_by_cluster(probabilities, positives(picked(labels, test)), picked(clusters, test), options,
                                       seed);
  };
  if (result.model.reads_pairs()) result.second = choose();
  for (Evidence& each : tested) each.pair_logit.reset();
  result.first = choose();
  return result;
}

void write_cascade(const std::string& model_directory, const CascadeRecord& record) {
  const auto stage = [&](const ThresholdChoice& choice) -> nlohmann::ordered_json {
    if (!record.deployed || !choice.chosen) return nullptr;
    return {{"threshold", choice.chosen->threshold},
            {"upper_bound", choice.chosen->upper_bound},
            {"hits", choice.chosen->hits},
            {"wrong", choice.chosen->wrong}};
  };
  const CascadeCalibration& calibration = record.calibration;
  nlohmann::ordered_json cascade = {{"model", nlohmann::ordered_json::parse(calibration.model.parameters())},
                                    {"first", stage(calibration.first)},
                                    {"second", stage(calibration.second)},
                                    {"embedder", record.embedder},
                                    {"scorer", nullptr},
                                    {"guards", to_string(record.guards)},
                                    {"sha256", record.file_sha256},
                                    {"pairs", calibration.pairs},
                                    {"clusters", calibration.clusters},
                                    {"fit_pairs", calibration.fit_pairs},
                                    {"threshold_pairs", calibration.first.pairs},
                                    {"deployed", record.deployed},
                                    {"target_wrong_hits", record.options.target},
                                    {"confidence", record.options.confidence}};
  if (!record.scorer.empty()) cascade["scorer"] = record.scorer;
  change_extras(model_directory, [&](nlohmann::ordered_json& extras) { extras["cascade"] = std::move(cascade); });
}

}  // namespace promptcache
