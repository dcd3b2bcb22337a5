#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <thread>

#include "evaluation.hpp"
#include "interrupt.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/train/repeated.hpp"
#include "tool.hpp"
#include "train_runs.hpp"

namespace {

using promptcache::train::Head;
using promptcache::train::TrainOptions;
using promptcache::train::Variations;

/// OpenBLAS and LibTorch each keep a pool of threads; when both spin while idle, they starve each other. The OpenMP
/// runtime reads its wait policy once, when it is loaded, so the program starts itself anew with it set.
void wait_passively(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::execv("/proc/self/exe", argv);  // on failure training is merely slower
}

/// What the command line asks for beside the training itself.
struct Request {
  TrainOptions options;
  Variations variations;
  std::string log, test, json;
};

/// FILE:WEIGHT, or FILE alone with a weight of 1.
promptcache::train::MixedSet mixed_set(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return {text};
  char* end = nullptr;
  const double weight = std::strtod(text.c_str() + colon + 1, &end);
  if (colon + 1 == text.size() || *end != '\0') {
    throw promptcache::Error(promptcache::ErrorCode::usage, {"--mix"}, "'" + text + "'",
                             "FILE:WEIGHT with a number as weight");
  }
  return {text.substr(0, colon), weight};
}

promptcache::Calibration head_to_try(const std::string& text) {
  double lambda = 0, offset = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lf:%lf%c", &lambda, &offset, &rest) != 2) {
    throw promptcache::Error(promptcache::ErrorCode::usage, {"--sweep"}, "'" + text + "'", "LAMBDA:C, two numbers");
  }
  return {lambda, offset};
}

promptcache::EmbedderOptions embedder_of(const TrainOptions& options) {
  return {.max_tokens = options.max_tokens,
          .parallel_callers = options.threads,
          .threads_per_call = 1,
          .precision = promptcache::Precision::f32};
}

/// AUC of a written model on the test pairs, by the encoder that serves.
std::optional<double> auc_on(const std::string& model, const promptcache::PairFile& test, const TrainOptions& options,
                             const promptcache::ProgressCallback& progress) {
  const promptcache::EmbedderOptions embedder = embedder_of(options);
  const auto auc = tool::evaluate(model, test, nullptr, embedder, progress).auc;
  return auc ? std::optional(auc->value) : std::nullopt;
}

int train(const Request& request, const std::string& command) {
  const TrainOptions& options = request.options;
  std::optional<promptcache::PairFile> test;
  if (!request.test.empty()) test = promptcache::read_pair_file(request.test);  // bad ones are found out now
  std::ofstream log_file;
  if (!request.log.empty()) {
    log_file.open(request.log, options.resume ? std::ios::app : std::ios::trunc);
    if (!log_file) throw promptcache::system_error({request.log}, errno, "a log file that can be written");
  }
  tool::ProgressBar bar;
  promptcache::train::TrainCallbacks callbacks;
  callbacks.progress = bar.callback();
  callbacks.log = [&](promptcache::LogLevel level, std::string_view text) {
    bar.finish();
    std::cerr << (level == promptcache::LogLevel::warning ? "warning: " : "") << text << std::endl;
  };
  callbacks.record = [&](const std::string& line) {
    if (log_file.is_open()) log_file << line << std::endl;
  };
  callbacks.stop = [] { return tool::interrupt_requested(); };
  tool::catch_interrupts();

  promptcache::train::VariedResult result;
  if (request.variations.single()) {
    result.runs.push_back({"", options, promptcache::train::train(options, callbacks)});
    result.interrupted = result.runs.back().result.interrupted;
  } else {
    result = train_variations(options, request.variations, callbacks);
  }
  bar.finish();
  if (result.interrupted) {
    std::cerr << "interrupted; everything is saved. To go on:\n  " << command << std::endl;
    return tool::interrupted;
  }

  std::vector<tool::TrainedRun> runs;
  for (const promptcache::train::VariedRun& run : result.runs) {
    const promptcache::train::TrainResult& of = run.result;
    runs.push_back({run.group, run.options.seed, of.pairs, of.best_epoch, of.epochs, of.blend, of.start_auc,
                    of.best_auc, test ? auc_on(run.options.out, *test, options, bar.callback()) : std::nullopt});
  }
  bar.finish();
  const promptcache::train::TrainResult& best = result.runs[result.best].result;
  std::cout << options.out << ": validation AUC " << best.start_auc << " -> " << best.best_auc << " (epoch "
            << best.best_epoch << " of " << best.epochs << "), lambda " << best.lambda << ", c " << best.offset << "\n";
  if (best.best_epoch == 0) std::cout << "no epoch beat the untouched model: its weights were written\n";
  if (runs.size() > 1) std::cout << tool::runs_table(runs);
  nlohmann::ordered_json json = tool::runs_json(runs);
  json["best"] = result.best;
  if (test) {
    const promptcache::EmbedderOptions embedder = embedder_of(options);
    const auto of = [&](const std::string& model) {
      return tool::evaluate(model, *test, nullptr, embedder, bar.callback());
    };
    tool::ComparisonOptions compared;
    compared.bootstrap.threads = options.threads;
    compared.model_directory = options.out;
    tool::Evaluation tuned = of(options.out);
    const tool::Comparison comparison = tool::compare(test->pairs, std::move(tuned), of(options.model), compared);
    bar.finish();
    std::cout << "on " << request.test << ":\n" << tool::table_text(options.out, options.model, comparison);
    json["test"] = tool::to_json(comparison);
  }
  if (!request.variations.shares.empty()) {
    const std::string path = options.out + "/learning_curve.tsv";
    promptcache::write_file_atomically(path, tool::learning_curve_tsv(runs));
    tool::LearningForecast forecast;
    forecast.points = promptcache::read_learning_points(path);
    forecast.curve = promptcache::fit_learning_curve(forecast.points);
    std::cout << tool::learning_text(forecast);
    json["learning_curve"] = tool::to_json(forecast);
  }
  if (!request.json.empty()) promptcache::write_file_atomically(request.json, json.dump(2) + "\n");
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  wait_passively(argv);
  CLI::App app{
      "Teaches an encoder from labelled pairs whether one response serves two prompts.\n"
      "Example: pc-train --model models/all-MiniLM-L6-v2 --train train.tsv --valid valid.tsv --out models/tuned",
      "pc-train"};
  Request request;
  TrainOptions& options = request.options;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  std::string head = "platt", kind = "encoder";
  std::vector<std::string> mix, sweep;
  const auto files = [&](CLI::Option* option) { return option->group("Files"); };
  files(app.add_option("--model", options.model, "model directory to start from"))->required();
  files(app.add_option("--train", options.train, "training pairs"))->required();
  files(app.add_option("--valid", options.valid, "validation pairs, sharing no question with the training pairs"))
      ->required();
  files(app.add_option("--out", options.out, "directory for the new model; absent or empty unless --resume"))
      ->required();
  files(app.add_option("--mix", mix, "FILE:WEIGHT, more pairs: WEIGHT of them for each training pair; may be repeated"))
      ->allow_extra_args(false);
  files(app.add_option("--guard", options.guards, "pairs on which the AUC must not fall; may be repeated"))
      ->allow_extra_args(false);
  files(app.add_option("--test", request.test, "pairs to judge the result by, which nothing is chosen by"));
  files(app.add_option("--log", request.log, "JSON lines with every step and epoch"));
  files(app.add_option("--json", request.json, "write the outcome of all runs to this file"));

  app.add_option("--kind", kind, "encoder, or pair: a scorer that reads two prompts together")
      ->capture_default_str()
      ->check(CLI::IsMember({"encoder", "pair"}));
  app.add_option("--loss", options.loss, "loss; the last three are there to compare with")
      ->capture_default_str()
      ->check(CLI::IsMember({"bce", "sld", "sld-symmetric", "cosine", "contrastive", "triplet"}));
  CLI::Option* head_option = app.add_option("--head", head, "where lambda and c come from")
                                 ->capture_default_str()
                                 ->check(CLI::IsMember({"fixed", "platt", "learned"}));
  app.add_option("--lambda", options.lambda,
                 "temperature of the head (makes the head fixed unless --head says otherwise)");
  app.add_option("--offset", options.offset, "offset c of the head (likewise)");
  app.add_option("--eps", options.eps, "clipping of the labels in the SLD losses")->capture_default_str();
  app.add_option("--temperature", options.temperature, "of the contrastive loss")->capture_default_str();
  app.add_option("--margin", options.margin, "of the triplet loss")->capture_default_str();

  const auto keeping = [&](CLI::Option* option) { return option->group("Keeping what the model knew"); };
  keeping(app.add_option("--preserve", options.preserve, "weight of keeping the other cosines of a batch as they were"))
      ->capture_default_str();
  keeping(app.add_option("--layer-decay", options.layer_decay, "rate of each layer over that of the next"))
      ->capture_default_str();
  keeping(app.add_option("--guard-slack", options.guard_slack, "what the AUC of a guard may lose"))
      ->capture_default_str();
  keeping(
      app.add_option("--blends", options.blends,
                     "try the weights at so many even steps from the untouched to the trained ones (5 with --guard)"))
      ->capture_default_str();

  app.add_option("--epochs", options.epochs, "passes over the training pairs")->capture_default_str();
  app.add_option("--batch-size", options.batch_size, "pairs a step")->capture_default_str();
  app.add_option("--learning-rate", options.learning_rate, "peak of the schedule")->capture_default_str();
  app.add_option("--max-tokens", options.max_tokens, "longest input in tokens")->capture_default_str();
  app.add_option("--patience", options.patience, "epochs without a better validation AUC before stopping")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "seed of order and dropout")->capture_default_str();
  app.add_option("--threads", options.threads, "threads; part of what makes a run repeatable")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--device", options.device, "device")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--precision", options.precision, "of matrix products; auto: bf16 on CUDA, f32 otherwise")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "f32", "bf16"}));
  app.add_flag("--resume", options.resume, "go on from the checkpoint in --out");

  const auto several = [&](CLI::Option* option) { return option->group("Several runs in one call"); };
  several(app.add_option("--seeds", request.variations.seeds, "runs with so many seeds, from --seed on"))
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  several(app.add_option("--sweep", sweep, "LAMBDA:C,..., a run with each as its fixed head"))->delimiter(',');
  several(app.add_option("--learning-curve", request.variations.shares,
                         "SHARE,..., a run with each share of the training pairs, smaller ones part of larger ones"))
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1.0));
  return tool::run(app, argc, argv, [&] {
    const bool given = options.lambda && options.offset && head_option->count() == 0;
    options.head = head == "fixed" || given ? Head::fixed : head == "platt" ? Head::platt : Head::learned;
    options.kind = kind == "pair" ? promptcache::train::Kind::pair : promptcache::train::Kind::encoder;
    for (const std::string& text : mix) options.mix.push_back(mixed_set(text));
    for (const std::string& text : sweep) request.variations.heads.push_back(head_to_try(text));
    return train(request, tool::resume_command(argc, argv));
  });
}
