#include <CLI/CLI.hpp>
#include <cmath>
#include <iostream>
#include <unordered_set>

#include "embedder_flags.hpp"
#include "numbers.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/prompt_clusters.hpp"
#include "promptcache/pairs/split.hpp"
#include "sim_report.hpp"
#include "simulation.hpp"
#include "stream.hpp"
#include "tool.hpp"

namespace {

using promptcache::Error;
using promptcache::ErrorCode;
using promptcache::PromptSet;

struct Options {
  std::string model, baseline, pairs, clusters, tune, json, report;
  std::string columns = "prompt,cluster";
  std::string popularity = "uniform";
  std::string eviction = "lru";
  std::size_t limit = 0;
  double tau_from = 0.3, tau_step = 0.01;
  tool::SimulationOptions simulation;
  tool::EmbedderFlags embedder;
};

/// Prompts of either kind of file, and what is to be said about it.
struct Source {
  PromptSet prompts;
  std::vector<std::string> notes;
};

constexpr std::size_t most_prompts = 100'000;

Source read_source(const std::string& path, const Options& options) {
  Source source;
  if (!options.pairs.empty()) {
    const promptcache::PairFile file = promptcache::read_pair_file(path);
    source.prompts = promptcache::prompts_of_pairs(file.pairs, options.limit, options.simulation.plan.seed);
  } else {
    const std::size_t comma = options.columns.find(',');
    if (comma == std::string::npos) {
      throw Error(ErrorCode::usage, {"--columns"}, "'" + options.columns + "'", "two names, as in prompt,cluster");
    }
    const promptcache::PromptClusters clusters =
        promptcache::read_prompt_clusters(path, options.columns.substr(0, comma), options.columns.substr(comma + 1));
    if (clusters.conflicts > 0) {
      source.notes.push_back(path + ": " + tool::counted(clusters.conflicts, "line has", "lines have") +
                             " a prompt of another cluster; the first cluster counts.");
    }
    source.prompts = promptcache::prompts_of_clusters(clusters, options.limit, options.simulation.plan.seed);
  }
  const std::size_t prompts = source.prompts.texts.size();
  if (prompts < 2) throw Error(ErrorCode::usage, {path}, tool::counted(prompts, "prompt", "prompts"), "at least two");
  if (prompts > most_prompts) {
    throw Error(ErrorCode::usage, {path}, std::to_string(prompts) + " prompts",
                "at most " + std::to_string(most_prompts) + "; --limit takes a random part");
  }
  return source;
}

std::size_t shared_prompts(const PromptSet& first, const PromptSet& second) {
  std::unordered_set<std::string> known;
  for (const std::string& text : first.texts) known.insert(promptcache::normalized_question(text));
  std::size_t shared = 0;
  for (const std::string& text : second.texts) shared += known.count(promptcache::normalized_question(text));
  return shared;
}

void finish(Options& options) {
  tool::SimulationOptions& simulation = options.simulation;
  const auto require_finite = [](const char* flag, const std::optional<double>& value) {
    if (value && !std::isfinite(*value)) {
      throw Error(ErrorCode::numeric, {flag}, std::to_string(*value), "a finite number");
    }
  };
  require_finite("--tau", simulation.tau);
  require_finite("--tau-from", options.tau_from);
  require_finite("--tau-step", options.tau_step);
  require_finite("--zipf-exponent", simulation.plan.zipf_exponent);
  require_finite("--drift", simulation.plan.drift);
  require_finite("--again", simulation.plan.again);
  require_finite("--latency-ms", simulation.latency_ms);
  require_finite("--price", simulation.price);
  require_finite("--wrong-hit-cost", simulation.wrong_hit_cost);
  if (options.popularity == "zipf") simulation.plan.popularity = promptcache::Popularity::zipf;
  if (options.eviction == "lec") simulation.cache.eviction = promptcache::Eviction::least_expected_cost;
  simulation.taus = tool::threshold_grid(options.tau_from, options.tau_step);
  simulation.embedder = options.embedder.options();
  simulation.threads = options.embedder.threads;
  if (!options.json.empty()) tool::require_writable(options.json);
  if (!options.report.empty()) tool::check_report(options.report);
}

int simulate(Options& options, tool::Provenance provenance) {
  finish(options);
  const std::string& path = options.pairs.empty() ? options.clusters : options.pairs;
  const Source scored = read_source(path, options);
  stream_requests(scored.prompts.truth, options.simulation.plan, 0);  // a plan out of range is told before the work
  std::optional<Source> tune;
  std::vector<std::string> notes = scored.notes;
  if (!options.tune.empty()) {
    tune = read_source(options.tune, options);
    notes.insert(notes.end(), tune->notes.begin(), tune->notes.end());
    if (tune->prompts.truth.components() == tune->prompts.texts.size() && options.simulation.plan.once_each() &&
        options.simulation.plan.again == 0) {
      throw Error(ErrorCode::usage, {options.tune}, "no two prompts that share a response",
                  "a stream in which a hit can be right, or --tau");
    }
    if (const std::size_t shared = shared_prompts(tune->prompts, scored.prompts); shared > 0) {
      notes.push_back(tool::counted(shared, "prompt is", "prompts are") +
                      " in both files, so the figures flatter: tune on other prompts (pc-mine split).");
      std::cerr << "pc-sim: warning: " << notes.back() << std::endl;
    }
  }

  tool::ProgressBar bar;
  const auto run = [&](const std::string& directory) {
    return tool::simulate(directory, scored.prompts, tune ? &tune->prompts : nullptr, options.simulation,
                          bar.callback());
  };
  tool::ModelSimulation model = run(options.model);
  std::optional<tool::ModelSimulation> baseline;
  if (!options.baseline.empty()) baseline = run(options.baseline);
  bar.finish();

  tool::Simulation simulation =
      tool::compare(scored.prompts, options.simulation, std::move(model), std::move(baseline));
  simulation.notes.insert(simulation.notes.end(), notes.begin(), notes.end());
  std::cout << tool::table_text(simulation, options.simulation);
  provenance.add_model("model", options.model);
  if (!options.baseline.empty()) provenance.add_model("baseline", options.baseline);
  provenance.add_file("stream", path);
  if (!options.tune.empty()) provenance.add_file("stream that chose tau", options.tune);
  if (!options.json.empty()) {
    nlohmann::ordered_json json = tool::to_json(simulation, options.simulation);
    json["provenance"] = provenance.json();
    using Json = nlohmann::ordered_json;
    promptcache::write_file_atomically(options.json, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  if (!options.report.empty()) {
    tool::write_page(options.report, tool::simulation_page(simulation, options.simulation, provenance));
  }
  return tool::done;
}

void add_stream_options(CLI::App& app, Options& options) {
  tool::SimulationOptions& simulation = options.simulation;
  app.add_option("--shuffles", simulation.plan.shuffles, "random orders of the stream")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app.add_option("--seed", simulation.plan.seed, "seed of the orders")->capture_default_str();
  app.add_option("--limit", options.limit, "take a random part of at most so many prompts of each file");
  app.add_option("--popularity", options.popularity,
                 "uniform: each prompt once, or --requests drawn evenly; zipf: questions drawn by Zipf's law")
      ->capture_default_str()
      ->check(CLI::IsMember({"uniform", "zipf"}));
  app.add_option("--zipf-exponent", simulation.plan.zipf_exponent, "the question of rank r comes r^-X as often")
      ->capture_default_str();
  app.add_option("--requests", simulation.plan.requests,
                 "length of the stream, drawn with replacement (default: each prompt once; zipf: the prompts' number)")
      ->check(CLI::Range(1, 100'000'000));
  app.add_option("--drift", simulation.plan.drift,
                 "with zipf: how often the ranking passes by; the least popular question becomes the most popular, all "
                 "others sink by one, X times the questions' number along the stream")
      ->capture_default_str();
  app.add_option("--again", simulation.plan.again, "afterwards this share of the requests once more, word for word")
      ->capture_default_str();
  app.add_option("--capacity", simulation.cache.capacity, "entries the cache holds; 0: no bound")
      ->capture_default_str()
      ->check(CLI::Range(0, 100'000'000));
  app.add_option("--eviction", options.eviction, "what goes first: least recently used, or least expected cost")
      ->capture_default_str()
      ->check(CLI::IsMember({"lru", "lec"}));
}

void add_options(CLI::App& app, Options& options) {
  tool::SimulationOptions& simulation = options.simulation;
  app.add_option("--model", options.model, "model directory")->required();
  app.add_option("--baseline", options.baseline, "model directory to compare with, on the same streams");
  auto* from = app.add_option_group("stream", "where the prompts come from");
  from->add_option("--pairs", options.pairs, "q1, q2, label: positive pairs share a response; TSV or JSON lines, gzip");
  from->add_option("--clusters", options.clusters, "prompt, cluster: prompts of one cluster share a response");
  from->require_option(1);
  app.add_option("--columns", options.columns, "names of the columns of --clusters")->capture_default_str();
  auto* threshold = app.add_option_group("threshold", "where tau comes from");
  threshold->add_option("--tau", simulation.tau, "serve above this similarity")->check(CLI::Range(-1.0, 1.0));
  threshold->add_option("--tune", options.tune,
                        "another file of the same kind; of each model the tau most efficient on it");
  threshold->require_option(1);
  app.add_flag("--at-worst", simulation.at_worst, "choose tau as if hits of unknown truth were wrong");
  app.add_option("--tau-from", options.tau_from, "lowest threshold to try")
      ->capture_default_str()
      ->check(CLI::Range(-1.0, 1.0));
  app.add_option("--tau-step", options.tau_step, "from one to the next")
      ->capture_default_str()
      ->check(CLI::Range(0.0001, 2.0));
  add_stream_options(app, options);
  app.add_option("--latency-ms", simulation.latency_ms, "time of one call of the language model, for the time saved")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--price", simulation.price, "price of one call, for the cost saved")->check(CLI::NonNegativeNumber);
  app.add_option("--wrong-hit-cost", simulation.wrong_hit_cost, "what a wrong hit costs, in calls")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--timings", simulation.timings, "serve the first shuffle with the encoder too, and time the lookups");
  app.add_flag("!--no-curve", simulation.curve, "leave out the thresholds other than tau on the scored stream");
  options.embedder.add_to(app);
  app.add_option("--json", options.json, "write the figures to this file");
  app.add_option("--report", options.report, "write a page to this file: .html with pictures (needs gnuplot), or .md");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Replays a stream of prompts through a cache and counts right and wrong hits.\n"
      "Example: pc-sim --model models/tuned --baseline models/all-MiniLM-L6-v2 --pairs test.tsv --tune valid.tsv\n"
      "A hit is right when positive labels connect both prompts, directly or over others, or their cluster is the "
      "same;\n"
      "wrong when a label of 0 links them or their questions, or the cluster is another; otherwise its truth is "
      "unknown\n"
      "and it counts neither way. The very prompt again is right. Efficiency = (right hits, exact ones included, - "
      "wrong\n"
      "hits) / requests whose question was asked before.",
      "pc-sim"};
  Options options;
  add_options(app, options);
  return tool::run(app, argc, argv, [&] { return simulate(options, tool::Provenance(argc, argv)); });
}
