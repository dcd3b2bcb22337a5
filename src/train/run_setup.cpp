#include "train/run_setup.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <optional>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache::train {

Loss parse_loss(const std::string& name) {
  if (name == "bce") return Loss::bce;
  if (name == "sld") return Loss::sld;
  if (name == "sld-symmetric") return Loss::sld_symmetric;
  if (name == "cosine") return Loss::cosine;
  if (name == "contrastive") return Loss::contrastive;
  if (name == "triplet") return Loss::triplet;
  throw Error(ErrorCode::usage, {"loss"}, "'" + name + "'", "bce, sld, sld-symmetric, cosine, contrastive or triplet");
}

const char* name_of(Head head) { return head == Head::fixed ? "fixed" : head == Head::platt ? "platt" : "learned"; }

torch::Device parse_device(const std::string& name) {
  const bool cuda = torch::cuda::is_available();
  if (name == "cpu" || (name == "auto" && !cuda)) return torch::kCPU;
  if (name != "auto" && name != "cuda")
    throw Error(ErrorCode::usage, {"device"}, "'" + name + "'", "auto, cpu or cuda");
  if (!cuda) {
    throw Error(ErrorCode::usage, {"device"}, "'cuda' on a machine or LibTorch without CUDA", "auto or cpu");
  }
  return torch::kCUDA;
}

bool parse_bf16(const std::string& name, torch::Device device) {
  if (name == "f32") return false;
  if (name == "bf16") return true;
  if (name != "auto") throw Error(ErrorCode::usage, {"precision"}, "'" + name + "'", "auto, f32 or bf16");
  return device.is_cuda();
}

const char* name_of(Kind kind) { return kind == Kind::encoder ? "encoder" : "pair"; }

void check_options(const TrainOptions& options) {
  const auto require = [](bool good, const char* name, const std::string& found, const char* wanted) {
    if (!good) throw Error(ErrorCode::usage, {name}, found, wanted);
  };
  require(options.epochs >= 1, "epochs", "0", "at least 1");
  require(options.batch_size >= 1, "batch-size", "0", "at least 1");
  require(options.threads >= 1, "threads", "0", "at least 1");
  require(options.max_tokens >= 3, "max-tokens", std::to_string(options.max_tokens), "at least 3");
  require(options.learning_rate > 0 && std::isfinite(options.learning_rate), "learning-rate",
          std::to_string(options.learning_rate), "a number above 0");
  require(options.eps > 0 && options.eps < 0.5, "eps", std::to_string(options.eps), "a number between 0 and 0.5");
  require(!options.lambda || (*options.lambda > 0 && std::isfinite(*options.lambda)), "lambda",
          std::to_string(options.lambda.value_or(0)), "a number above 0");
  const auto positive = [&](const char* name, double value) {
    require(value > 0 && std::isfinite(value), name, std::to_string(value), "a number above 0");
  };
  positive("temperature", options.temperature);
  positive("margin", options.margin);
  for (const MixedSet& set : options.mix) positive(("weight of " + set.path).c_str(), set.weight);
  require(options.preserve >= 0 && std::isfinite(options.preserve), "preserve", std::to_string(options.preserve),
          "0 or a number above");
  require(options.layer_decay > 0 && options.layer_decay <= 1, "layer-decay", std::to_string(options.layer_decay),
          "a number above 0, at most 1");
  require(options.share > 0 && options.share <= 1, "share", std::to_string(options.share),
          "a number above 0, at most 1");
  require(options.guard_slack >= 0 && options.guard_slack < 1, "guard-slack", std::to_string(options.guard_slack),
          "a number from 0 on, below 1");
  require(options.blends >= 1, "blends", "0", "at least 1");
  if (options.kind == Kind::encoder) return;
  const Loss loss = parse_loss(options.loss);
  require(loss == Loss::bce || loss == Loss::sld || loss == Loss::sld_symmetric, "loss", "'" + options.loss + "'",
          "bce, sld or sld-symmetric for a pair scorer: it has no vectors");
  require(options.guards.empty() && options.blends == 1, "guard", "guards or blends for a pair scorer",
          "none: its untouched weights know nothing of pairs");
  require(options.preserve == 0, "preserve", std::to_string(options.preserve), "0 for a pair scorer");
  require(options.head == Head::platt && !options.lambda && !options.offset, "head",
          "a head of one's own for a pair scorer", "platt: it trains its logits themselves");
}

std::string prepare_output(const TrainOptions& options) {
  namespace fs = std::filesystem;
  const std::string checkpoint = options.out + "/checkpoint.safetensors";
  if (options.resume) {
    if (!fs::exists(checkpoint)) {
      throw Error(ErrorCode::not_found, {checkpoint}, "no such file", "the checkpoint of an unfinished run");
    }
    return checkpoint;
  }
  std::error_code status;
  if (fs::exists(options.out) && (!fs::is_directory(options.out) || !fs::is_empty(options.out))) {
    throw Error(ErrorCode::usage, {options.out}, "something there already",
                "an absent or empty directory, or --resume for an unfinished run");
  }
  fs::create_directories(options.out, status);
  if (status) throw system_error({options.out}, status.value(), "a directory that can be created");
  // Found out now, not after an hour of training.
  write_file_atomically(options.out + "/.writable", "");
  fs::remove(options.out + "/.writable", status);
  return checkpoint;
}

Json settings_of(const TrainOptions& options, std::size_t max_tokens) {
  Json mix = Json::array();
  for (const MixedSet& set : options.mix) mix.push_back(set.weight);
  return {{"kind", name_of(options.kind)},
          {"head", name_of(options.head)},
          {"loss", options.loss},
          {"eps", options.eps},
          {"temperature", options.temperature},
          {"margin", options.margin},
          {"preserve", options.preserve},
          {"mix_weights", mix},
          {"share", options.share},
          {"blends", options.blends},
          {"guard_slack", options.guard_slack},
          {"seed", options.seed},
          {"epochs", options.epochs},
          {"batch_size", options.batch_size},
          {"learning_rate", options.learning_rate},
          {"layer_decay", options.layer_decay},
          {"precision", options.precision},
          {"warm_up", options.warm_up},
          {"weight_decay", options.weight_decay},
          {"gradient_clip", options.gradient_clip},
          {"patience", options.patience},
          {"max_tokens", max_tokens}};
}

Calibration starting_head(const std::vector<double>& similarities, const std::vector<double>& labels) {
  const auto n = static_cast<double>(labels.size());
  const double mean = std::accumulate(similarities.begin(), similarities.end(), 0.0) / n;
  const double rate = std::accumulate(labels.begin(), labels.end(), 0.0) / n;
  double variance = 0;
  for (double s : similarities) variance += (s - mean) * (s - mean) / n;
  const double deviation = std::max(std::sqrt(variance), 1e-3);
  const Calibration steepest_needed{deviation, mean / deviation - std::log(rate / (1 - rate))};
  const std::optional<Calibration> fit = try_fit_platt(similarities, labels);
  return fit && fit->lambda < deviation ? *fit : steepest_needed;
}

}  // namespace promptcache::train
