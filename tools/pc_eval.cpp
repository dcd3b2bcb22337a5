#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "evaluation.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/file.hpp"
#include "tool.hpp"

namespace {

struct Options {
  std::string model, baseline, pairs, json, curve;
  std::size_t max_tokens = 0;
  std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
};

int evaluate(const Options& options) {
  const promptcache::PairFile pairs = promptcache::read_pair_file(options.pairs);
  tool::ProgressBar bar;
  const auto run = [&](const std::string& directory) {
    return tool::evaluate(directory, pairs.pairs, options.max_tokens, options.threads, bar.callback());
  };
  const tool::Evaluation model = run(options.model);
  const std::optional<tool::Evaluation> baseline =
      options.baseline.empty() ? std::nullopt : std::optional(run(options.baseline));
  bar.finish();

  const tool::Comparison comparison = tool::compare(pairs.pairs, model, baseline);
  std::cout << tool::table_text(options.model, options.baseline, comparison);
  if (!options.json.empty()) {
    promptcache::write_file_atomically(options.json, tool::to_json(comparison).dump(2) + "\n");
  }
  if (!options.curve.empty()) promptcache::write_file_atomically(options.curve, tool::curve_csv(model));
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
  app.add_option("--max-tokens", options.max_tokens, "longest input in tokens (default: the model's own)");
  app.add_option("--threads", options.threads, "threads")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--json", options.json, "write the measures to this file");
  app.add_option("--curve", options.curve, "write precision and recall over thresholds to this CSV file");
  return tool::run(app, argc, argv, [&] { return evaluate(options); });
}
