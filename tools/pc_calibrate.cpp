#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "embedder_flags.hpp"
#include "evaluation.hpp"
#include "hit_bound_flags.hpp"
#include "model_origin.hpp"
#include "model_scores.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/digest.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/calibrate_cascade.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/pairs/split.hpp"
#include "tool.hpp"

namespace {

using promptcache::Error;
using promptcache::ErrorCode;

struct Options {
  std::string model, scorer, calibration, json, guards;
  bool cascade = false;
  std::vector<std::string> train;
  promptcache::HitBoundOptions hits;
  bool deployed = false;
  tool::EmbedderFlags embedder;
};

/// Pairs that the model was trained on make it look better than it is.
std::vector<std::string> overlaps(const Options& options, const promptcache::PairFile& pairs,
                                  const std::string& sha256) {
  std::vector<std::string> warnings;
  for (const std::string& name : tool::sources_with_digest(options.model, sha256)) {
    warnings.push_back(options.calibration + " is the very file that the model was trained with as --" + name);
  }
  for (const std::string& path : options.train) {
    const std::size_t shared = promptcache::shared_questions(promptcache::read_pair_file(path).pairs, pairs.pairs);
    if (shared == 0) continue;
    warnings.push_back(std::to_string(shared) + " questions of " + options.calibration + " occur in " + path +
                       ": lambda, c and the threshold will be too good to be true");
  }
  return warnings;
}

/// Why the threshold is not written; empty when it is.
std::string why_no_threshold(const tool::WrongHits& hits) {
  if (hits.recommended() != nullptr) return "";
  if (!hits.deployed) {
    return "the pairs are not said to be drawn as deployed, a prompt and its nearest cached neighbour (--deployed)";
  }
  if (hits.choice.tested.empty()) return "there are too few question clusters to test any";
  return "the strictest one that could be tested has too many wrong hits";
}

nlohmann::ordered_json to_json(const promptcache::ThresholdChoice& choice) {
  if (!choice.chosen) return nullptr;
  return {{"hits", choice.chosen->hits}, {"wrong", choice.chosen->wrong}, {"upper_bound", choice.chosen->upper_bound}};
}

/// Fits evidence of all kinds to one probability.
promptcache::CascadeRecord fit_cascade(const Options& options, const promptcache::TransformerPairScorer* scorer,
                                       const promptcache::PairFile& pairs, const std::vector<double>& similarities,
                                       const std::vector<double>& labels, tool::ProgressBar& bar) {
  promptcache::CascadeRecord record;
  std::vector<double> logits;
  if (scorer != nullptr) {
    record.scorer = scorer->identity().hex();
    logits = tool::pair_logits(*scorer, pairs.pairs, options.embedder.threads, bar.callback()).values;
    bar.finish();
  }
  using promptcache::GuardAction, promptcache::GuardOptions, promptcache::Guards;
  std::shared_ptr<const Guards> guards;
  const std::string action = !options.guards.empty() ? options.guards : scorer != nullptr ? "off" : "flag";
  if (action == "flag") guards = Guards::english(GuardOptions::all(record.guards = GuardAction::flag));
  if (action == "veto") {
    record.guards = GuardAction::veto;
    guards = Guards::english();
  }
  record.deployed = options.deployed;
  record.options = options.hits;
  record.calibration =
      promptcache::calibrate_cascade(promptcache::evidence_of_pairs(pairs, similarities, logits, guards.get()), labels,
                                     promptcache::components_of(pairs.pairs), guards.get(), options.hits);
  return record;
}

void print_cascade(const promptcache::CascadeRecord& record) {
  const auto say = [&](const char* stage, const promptcache::ThresholdChoice& choice) {
    std::printf("    %-24s ", stage);
    if (choice.chosen) {
      std::printf("%zu of %zu pairs served, %zu of them wrong, at most %.4g wrong\n", choice.chosen->hits, choice.pairs,
                  choice.chosen->wrong, choice.chosen->upper_bound);
    } else {
      std::printf("no threshold passed\n");
    }
  };
  std::printf("  cascade%s:\n",
              record.deployed ? "" : ", its thresholds not written since the pairs are not as deployed");
  say("without the pair scorer", record.calibration.first);
  if (record.calibration.model.reads_pairs()) say("with it", record.calibration.second);
}

nlohmann::ordered_json to_json(const promptcache::CascadeRecord& record) {
  return {{"model", nlohmann::ordered_json::parse(record.calibration.model.parameters())},
          {"first", to_json(record.calibration.first)},
          {"second", to_json(record.calibration.second)}};
}

int calibrate(const Options& options) {
  promptcache::fewest_trials(options.hits.target, options.hits.confidence);  // refuses what is out of range at once
  const promptcache::ModelDirectory directory = promptcache::ModelDirectory::open(options.model);
  const promptcache::PairFile pairs = promptcache::read_pair_file(options.calibration);
  const std::string target = directory.file("promptcache.json");
  { const promptcache::AtomicFile writable(target); }  // found out now, not after the embedding
  const std::string sha256 = promptcache::sha256_file(options.calibration).hex();
  const std::vector<std::string> warnings = overlaps(options, pairs, sha256);
  for (const std::string& warning : warnings) std::cerr << "warning: " << warning << std::endl;

  std::shared_ptr<const promptcache::TransformerPairScorer> scorer;
  if (!options.scorer.empty()) {
    scorer = promptcache::TransformerPairScorer::open(options.scorer, options.embedder.options());
  }
  const tool::ModelScores scores(options.model, options.embedder.options());
  tool::ProgressBar bar;
  const std::vector<double> similarities = scores(pairs, bar.callback()).values;
  bar.finish();
  std::vector<double> labels;
  for (const promptcache::Pair& pair : pairs.pairs) labels.push_back(pair.label);
  const promptcache::CalibrationResult result =
      promptcache::calibrate(similarities, labels, promptcache::components_of(pairs.pairs), options.hits);
  if (!result.head) {
    throw Error(ErrorCode::usage, {options.calibration},
                "pairs that no lambda and c can be fitted to (" + result.no_head + ")",
                "pairs of both labels on which the similarity rises with the label");
  }
  tool::WrongHits hits;
  hits.options = options.hits;
  hits.deployed = options.deployed;
  hits.from_calibration = true;
  hits.choice = result.thresholds;
  const std::string why = why_no_threshold(hits);

  std::optional<promptcache::CascadeRecord> cascade;
  if (options.cascade || scorer) cascade = fit_cascade(options, scorer.get(), pairs, similarities, labels, bar);

  promptcache::CalibrationRecord record;
  record.head = *result.head;
  if (hits.recommended() != nullptr) record.threshold = *hits.recommended();
  record.options = options.hits;
  record.deployed = options.deployed;
  record.file_sha256 = sha256;
  record.precision = to_string(scores.precision());
  record.embedder = scores.identity().hex();
  record.pairs = result.pairs;
  record.clusters = result.clusters;
  record.fit_pairs = result.fit_pairs;
  record.threshold_pairs = result.thresholds.pairs;
  promptcache::write_calibration(options.model, record);
  if (cascade) {
    cascade->file_sha256 = sha256;
    cascade->embedder = record.embedder;
    promptcache::write_cascade(options.model, *cascade);
  }

  std::printf("%zu pairs in %zu question clusters: lambda and c from %zu pairs, thresholds tested on %zu others\n",
              result.pairs, result.clusters, result.fit_pairs, result.thresholds.pairs);
  std::printf("  lambda %.6g, c %.6g: P = 1/2 at similarity %.4f\n", record.head.lambda, record.head.offset,
              record.head.similarity_at(0.5));
  std::fputs(tool::wrong_hits_text(hits).c_str(), stdout);
  std::printf("%s: wrote lambda and c%s%s\n", target.c_str(), why.empty() ? " and the threshold" : "",
              cascade ? ", and a cascade" : "");
  if (!why.empty()) std::printf("  no threshold: %s\n", why.c_str());
  std::printf("  similarities in %s: serve in the same precision\n", record.precision.c_str());
  if (cascade) print_cascade(*cascade);
  if (!options.json.empty()) {
    nlohmann::ordered_json json = {
        {"lambda", record.head.lambda},  {"c", record.head.offset},       {"threshold", nullptr},
        {"no_threshold", why},           {"pairs", record.pairs},         {"clusters", record.clusters},
        {"fit_pairs", record.fit_pairs}, {"precision", record.precision}, {"sha256", sha256},
        {"warnings", warnings}};
    if (record.threshold) json["threshold"] = record.threshold->threshold;
    json["wrong_hits"] = tool::to_json(hits);
    if (cascade) json["cascade"] = to_json(*cascade);
    promptcache::write_file_atomically(options.json, json.dump(2) + "\n");
  }
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Fits lambda and c of P = sigma(similarity / lambda - c) to half of the calibration pairs, tests thresholds on\n"
      "the other half, and writes the outcome into the model's promptcache.json. All else in that file stays.\n"
      "Example: pc-calibrate --model models/tuned --calibration neighbours.tsv --train data/train.tsv --deployed",
      "pc-calibrate"};
  Options options;
  app.add_option("--model", options.model, "model directory, which is changed")->required();
  app.add_option("--calibration", options.calibration,
                 "TSV or JSON lines with q1, q2, label; may be gzip; not used in training")
      ->required();
  app.add_flag("--deployed", options.deployed,
               "the pairs are drawn as deployed: a prompt and its nearest cached neighbour;\n"
               "without it no threshold is written, and an older one is removed");
  app.add_flag("--cascade", options.cascade,
               "also fit similarity, lengths and guards' findings to one probability, for CascadePolicy");
  app.add_option("--scorer", options.scorer, "pair scorer directory: the cascade's second stage (implies --cascade)");
  app.add_option("--guards", options.guards,
                 "flag: what guards find is evidence beside the rest; veto: some of it cannot be outvoted, as\n"
                 "GuardOptions has it; off: a cascade without guards, which a pair scorer mostly does better without")
      ->check(CLI::IsMember({"flag", "veto", "off"}))
      ->default_str("off with a scorer, else flag");
  tool::add_hit_bound_flags(app, options.hits);
  app.add_option("--train", options.train, "training pairs, to warn of questions that occur in both; may be repeated");
  options.embedder.add_to(app);
  app.add_option("--json", options.json, "write the outcome to this file too");
  return tool::run(app, argc, argv, [&] { return calibrate(options); });
}
