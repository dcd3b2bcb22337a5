#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "embedder_flags.hpp"
#include "eval_report.hpp"
#include "evaluation.hpp"
#include "hit_bound_flags.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/model/pair_head.hpp"
#include "stream.hpp"
#include "tool.hpp"

namespace {

struct Options {
  std::string kind, model, scorer, baseline, pairs, calibration, valid, learning, json, curve, report;
  promptcache::HitBoundOptions hits;
  bool deployed = false;
  std::size_t resamples = 1000;
  tool::EmbedderFlags embedder;
};

std::optional<promptcache::PairFile> read_optional(const std::string& path) {
  return path.empty() ? std::nullopt : std::optional(promptcache::read_pair_file(path));
}

std::optional<tool::LearningForecast> read_learning(const std::string& path) {
  if (path.empty()) return std::nullopt;
  tool::LearningForecast forecast;
  forecast.points = promptcache::read_learning_points(path);
  forecast.curve = promptcache::fit_learning_curve(forecast.points);
  return forecast;
}

/// Without a model there is only the learning curve.
int forecast_only(const Options& options) {
  const std::optional<tool::LearningForecast> learning = read_learning(options.learning);
  std::cout << tool::learning_text(*learning);
  if (!options.json.empty()) {
    nlohmann::ordered_json json;
    json["learning_curve"] = tool::to_json(*learning);
    promptcache::write_file_atomically(options.json, json.dump(2) + "\n");
  }
  return tool::done;
}

/// Whether the directories are what --kind says; without --kind they say it themselves.
void require_kind(const Options& options) {
  const bool pair = promptcache::is_sequence_classifier(promptcache::ModelDirectory::open(options.model));
  const char* found = !options.scorer.empty() ? "cascade" : pair ? "pair" : "encoder";
  if (!options.kind.empty() && options.kind != found) {
    throw promptcache::Error(promptcache::ErrorCode::usage, {"--kind"}, options.kind,
                             std::string("what the directories hold, ") + found +
                                 (options.kind == "cascade" ? ": a cascade needs --scorer" : ""));
  }
  if (!options.valid.empty() && std::string(found) != "encoder") {
    throw promptcache::Error(promptcache::ErrorCode::usage, {"--valid"}, std::string("a model of kind ") + found,
                             "an encoder: streams of vectors are simulated");
  }
}

int evaluate(const Options& options, tool::Provenance provenance) {
  if (!options.learning.empty() && options.model.empty() && options.pairs.empty()) return forecast_only(options);
  if (options.model.empty()) throw CLI::RequiredError("--model");
  if (options.pairs.empty()) throw CLI::RequiredError("--pairs");
  require_kind(options);
  promptcache::fewest_trials(options.hits.target, options.hits.confidence);  // refuses what is out of range at once
  if (!options.report.empty()) tool::check_report(options.report);
  for (const std::string& path : {options.json, options.curve}) {
    if (!path.empty()) tool::require_writable(path);
  }
  const promptcache::PairFile pairs = promptcache::read_pair_file(options.pairs);
  const std::optional<promptcache::PairFile> valid = read_optional(options.valid);
  const std::optional<promptcache::PairFile> calibration = read_optional(options.calibration);
  std::optional<tool::LearningForecast> learning = read_learning(options.learning);
  tool::ProgressBar bar;
  const auto run = [&](const std::string& directory, const std::string& scorer) {
    return tool::evaluate(directory, pairs, calibration ? &*calibration : nullptr, options.embedder.options(),
                          bar.callback(), scorer);
  };
  const tool::Evaluation model = run(options.model, options.scorer);
  const std::optional<tool::Evaluation> baseline =
      options.baseline.empty() ? std::nullopt : std::optional(run(options.baseline, ""));

  tool::ReportInput report;
  const auto stream = [&](const std::string& directory) {
    constexpr std::size_t most_prompts = 4000;
    const auto embedder = promptcache::TransformerEmbedder::open(directory, options.embedder.options());
    const auto of = [&](const promptcache::PairFile& file) {
      return tool::make_stream(*embedder, file.pairs, most_prompts, options.embedder.threads, bar.callback());
    };
    return tool::sweep_stream(of(pairs), of(*valid));
  };
  if (valid) {
    report.model_stream = stream(options.model);
    if (baseline) report.baseline_stream = stream(options.baseline);
  }
  bar.finish();

  tool::ComparisonOptions compared;
  compared.hits = options.hits;
  compared.deployed = options.deployed;
  compared.bootstrap.resamples = options.resamples;
  compared.bootstrap.threads = options.embedder.threads;
  if (!options.report.empty()) compared.bootstrap.band_points = 60;
  compared.calibration = calibration ? &calibration->pairs : nullptr;
  compared.model_directory = options.model;
  tool::Comparison comparison = tool::compare(pairs.pairs, model, baseline, compared);
  comparison.learning = std::move(learning);
  std::cout << tool::table_text(options.model, options.baseline, comparison);
  if (report.model_stream) std::cout << "  stream, model:    " << tool::sweep_text(*report.model_stream) << "\n";
  if (report.baseline_stream) std::cout << "  stream, baseline: " << tool::sweep_text(*report.baseline_stream) << "\n";
  if (!options.json.empty()) {
    nlohmann::ordered_json json = tool::to_json(comparison);
    if (report.model_stream) json["stream"]["model"] = tool::to_json(*report.model_stream);
    if (report.baseline_stream) json["stream"]["baseline"] = tool::to_json(*report.baseline_stream);
    promptcache::write_file_atomically(options.json, json.dump(2) + "\n");
  }
  if (!options.curve.empty()) promptcache::write_file_atomically(options.curve, tool::curve_csv(model));
  if (!options.report.empty()) {
    provenance.add_model("model", options.model);
    if (baseline) provenance.add_model("baseline", options.baseline);
    provenance.add_file("pairs", options.pairs);
    if (calibration) provenance.add_file("calibration pairs", options.calibration);
    if (valid) provenance.add_file("pairs of the stream that chose the threshold", options.valid);
    report.pairs = &pairs.pairs;
    report.comparison = &comparison;
    report.provenance = std::move(provenance);
    tool::add_details(report);
    tool::write_page(options.report, tool::evaluation_page(report));
  }
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "How well a model tells pairs that one response serves from pairs it does not, with intervals resampled by\n"
      "question cluster and an upper bound on wrong hits. Writes nothing into model directories.\n"
      "Example: pc-eval --model models/tuned --baseline models/all-MiniLM-L6-v2 --pairs test.tsv --calibration "
      "valid.tsv",
      "pc-eval"};
  Options options;
  app.add_option("--model", options.model, "model directory (required, unless --learning-curve stands alone)");
  app.add_option("--scorer", options.scorer,
                 "pair scorer directory: judges the cascade of --model and it that pc-calibrate fitted");
  app.add_option("--kind", options.kind, "encoder, pair or cascade: refuse anything else (default: what is found)")
      ->check(CLI::IsMember({"encoder", "pair", "cascade"}));
  app.add_option("--baseline", options.baseline, "model directory to compare with, on the same pairs");
  app.add_option("--pairs", options.pairs, "TSV or JSON lines with q1, q2, label; may be gzip (required likewise)");
  app.add_option("--calibration", options.calibration,
                 "other pairs: half of their question clusters to fit lambda and c, half to test thresholds, so that\n"
                 "--pairs only judges");
  app.add_flag("--deployed", options.deployed,
               "the pairs that thresholds are tested on are drawn as deployed: a prompt and its nearest cached "
               "neighbour;\nwithout it no threshold is recommended");
  tool::add_hit_bound_flags(app, options.hits);
  app.add_option("--resamples", options.resamples, "of the question clusters, for intervals")
      ->capture_default_str()
      ->check(CLI::Range(100, 1000000));
  app.add_option("--valid", options.valid,
                 "pairs to choose a threshold on, for a simulated stream of the prompts of --pairs");
  app.add_option("--learning-curve", options.learning,
                 "TSV with the columns pairs, auc: what twice the labels would bring");
  options.embedder.add_to(app);
  app.add_option("--json", options.json, "write the measures to this file");
  app.add_option("--curve", options.curve, "write precision and recall over thresholds to this CSV file");
  app.add_option("--report,--html", options.report,
                 "write a page to this file: .html with pictures (needs gnuplot), or .md");
  return tool::run(app, argc, argv, [&] { return evaluate(options, tool::Provenance(argc, argv)); });
}
