#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "embedder_flags.hpp"
#include "evaluation.hpp"
#include "html_report.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "stream.hpp"
#include "tool.hpp"

namespace {

struct Options {
  std::string model, baseline, pairs, valid, json, curve, html;
  tool::EmbedderFlags embedder;
};

int evaluate(const Options& options) {
  const promptcache::PairFile pairs = promptcache::read_pair_file(options.pairs);
  const std::optional<promptcache::PairFile> valid =
      options.valid.empty() ? std::nullopt : std::optional(promptcache::read_pair_file(options.valid));
  tool::ProgressBar bar;
  const auto run = [&](const std::string& directory) {
    return tool::evaluate(directory, pairs.pairs, options.embedder.options(), bar.callback());
  };
  const tool::Evaluation model = run(options.model);
  const std::optional<tool::Evaluation> baseline =
      options.baseline.empty() ? std::nullopt : std::optional(run(options.baseline));

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

  const tool::Comparison comparison = tool::compare(pairs.pairs, model, baseline);
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
  if (!options.html.empty()) {
    report.model_name = options.model;
    report.baseline_name = options.baseline;
    report.pairs_name = options.pairs;
    report.pairs = &pairs.pairs;
    report.comparison = &comparison;
    promptcache::write_file_atomically(options.html, tool::html_report(report));
  }
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "How well a model tells pairs that one response serves from pairs it does not.\n"
      "Example: pc-eval --model models/tuned --baseline models/all-MiniLM-L6-v2 --pairs test.tsv",
      "pc-eval"};
  Options options;
  app.add_option("--model", options.model, "model directory")->required();
  app.add_option("--baseline", options.baseline, "model directory to compare with, on the same pairs");
  app.add_option("--pairs", options.pairs, "TSV or JSON lines with q1, q2, label; may be gzip")->required();
  app.add_option("--valid", options.valid,
                 "pairs to choose a threshold on, for a simulated stream of the prompts of --pairs");
  options.embedder.add_to(app);
  app.add_option("--json", options.json, "write the measures to this file");
  app.add_option("--curve", options.curve, "write precision and recall over thresholds to this CSV file");
  app.add_option("--html", options.html, "write a page with pictures to this file (needs gnuplot)");
  return tool::run(app, argc, argv, [&] { return evaluate(options); });
}
