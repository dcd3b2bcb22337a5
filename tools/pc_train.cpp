#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <thread>

#include "progress_bar.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/train/trainer.hpp"
#include "tool.hpp"

namespace {

using promptcache::train::Head;
using promptcache::train::TrainOptions;

std::atomic<bool> stop_requested{false};

void request_stop(int) {
  stop_requested = true;
  std::signal(SIGINT, SIG_DFL);  // a second Ctrl-C ends at once
}

/// The command line again, with --resume, ready to be pasted.
std::string resume_command(int argc, char** argv) {
  std::string command;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--resume") continue;
    const bool plain = word.find_first_of(" \t'\"$&|;<>()*?[]#~`\\") == std::string::npos && !word.empty();
    command += (i == 0 ? "" : " ") + (plain ? word : "'" + word + "'");
  }
  return command + " --resume";
}

/// OpenBLAS and LibTorch each keep a pool of threads; when both spin while idle, they starve each other. The OpenMP
/// runtime reads its wait policy once, when it is loaded, so the program starts itself anew with it set.
void wait_passively(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::execv("/proc/self/exe", argv);  // on failure training is merely slower
}

int train(TrainOptions options, const std::string& log_path, const std::string& command) {
  std::ofstream log_file;
  if (!log_path.empty()) {
    log_file.open(log_path, options.resume ? std::ios::app : std::ios::trunc);
    if (!log_file) throw promptcache::system_error({log_path}, errno, "a log file that can be written");
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
  callbacks.stop = [] { return stop_requested.load(); };
  std::signal(SIGINT, request_stop);

  const promptcache::train::TrainResult result = promptcache::train::train(options, callbacks);
  bar.finish();
  if (result.interrupted) {
    std::cerr << "interrupted; everything is saved. To go on:\n  " << command << std::endl;
    return tool::interrupted;
  }
  std::cout << options.out << ": validation AUC " << result.start_auc << " -> " << result.best_auc << " (epoch "
            << result.best_epoch << " of " << result.epochs << "), lambda " << result.lambda << ", c " << result.offset
            << "\n";
  if (result.best_epoch == 0) {
    std::cout << "no epoch beat the untouched model: its weights were written\n";
  }
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  wait_passively(argv);
  CLI::App app{
      "Teaches an encoder from labelled pairs whether one response serves two prompts.\n"
      "Example: pc-train --model models/all-MiniLM-L6-v2 --train train.tsv --valid valid.tsv --out models/tuned",
      "pc-train"};
  TrainOptions options;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  std::string head = "platt", log_path;
  app.add_option("--model", options.model, "model directory to start from")->required();
  app.add_option("--train", options.train, "training pairs")->required();
  app.add_option("--valid", options.valid, "validation pairs, sharing no question with the training pairs")->required();
  app.add_option("--out", options.out, "directory for the new model; absent or empty unless --resume")->required();
  app.add_option("--loss", options.loss, "loss")
      ->capture_default_str()
      ->check(CLI::IsMember({"bce", "sld", "sld-symmetric"}));
  CLI::Option* head_option = app.add_option("--head", head, "where lambda and c come from")
                                 ->capture_default_str()
                                 ->check(CLI::IsMember({"fixed", "platt", "learned"}));
  app.add_option("--lambda", options.lambda,
                 "temperature of the head (makes the head fixed unless --head says otherwise)");
  app.add_option("--offset", options.offset, "offset c of the head (likewise)");
  app.add_option("--eps", options.eps, "clipping of the labels in the SLD losses")->capture_default_str();
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
  app.add_flag("--resume", options.resume, "go on from the checkpoint in --out");
  app.add_option("--log", log_path, "JSON lines with every step and epoch");
  return tool::run(app, argc, argv, [&] {
    const bool given = options.lambda && options.offset && head_option->count() == 0;
    options.head = head == "fixed" || given ? Head::fixed : head == "platt" ? Head::platt : Head::learned;
    return train(options, log_path, resume_command(argc, argv));
  });
}
