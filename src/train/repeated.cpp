#include "promptcache/train/repeated.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "train/inputs.hpp"
#include "train/run_setup.hpp"

namespace promptcache::train {
namespace {

namespace fs = std::filesystem;

std::string shortest(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

std::vector<VariedRun> runs_of(const TrainOptions& options, const Variations& variations) {
  std::vector<VariedRun> runs;
  const std::size_t heads = std::max<std::size_t>(1, variations.heads.size());
  const std::vector<double> shares = variations.shares.empty() ? std::vector{options.share} : variations.shares;
  for (const double share : shares) {
    for (std::size_t head = 0; head < heads; ++head) {
      for (std::size_t seed = 0; seed < variations.seeds; ++seed) {
        VariedRun run{"", options, {}};
        run.options.share = share;
        run.options.seed = options.seed + seed;
        if (!variations.shares.empty()) run.group += "share-" + shortest(share) + "-";
        if (!variations.heads.empty()) {
          run.options.head = Head::fixed;
          run.options.lambda = variations.heads[head].lambda;
          run.options.offset = variations.heads[head].offset;
          run.group += "lambda-" + shortest(*run.options.lambda) + "-c-" + shortest(*run.options.offset) + "-";
        }
        run.options.out = options.out + "/runs/" + run.group + "seed-" + std::to_string(run.options.seed);
        if (!run.group.empty()) run.group.pop_back();
        runs.push_back(std::move(run));
      }
    }
  }
  return runs;
}

/// The result of a run that was finished before, read from what it wrote; false when there is none.
bool read_finished(VariedRun& run) {
  const std::string path = run.options.out + "/promptcache.json";
  if (!fs::exists(path) || fs::exists(run.options.out + "/checkpoint.safetensors")) return false;
  const Json json = Json::parse(read_file(path), nullptr, false);
  const ModelDirectory base = ModelDirectory::open(run.options.model);
  const Json settings = settings_of(run.options, std::min(run.options.max_tokens, base.max_tokens()));
  for (const auto& [name, value] : settings.items()) {
    if (json.is_object() && json.contains(name) && json.at(name) == value) continue;
    throw Error(ErrorCode::mismatch, {path}, "a finished run of another " + name, name + " " + value.dump());
  }
  const Json digests = digests_of(run.options, base);
  if (json.at("sha256") != digests) {
    throw Error(ErrorCode::mismatch, {path}, "a finished run of other data: " + json.at("sha256").dump(),
                digests.dump());
  }
  const Json& validation = json.at("validation");
  TrainResult& result = run.result;
  result.start_auc = validation.at("auc_before");
  result.best_auc = validation.at("auc");
  result.blend = validation.at("blend");
  result.best_epoch = validation.at("best_epoch");
  result.epochs = validation.at("epochs").size();
  result.pairs = json.at("pairs").at("train");
  result.lambda = json.at("lambda");
  result.offset = json.at("c");
  return true;
}

Json json_of(const VariedRun& run) {
  return {{"seed", run.options.seed},
          {"share", run.options.share},
          {"pairs", run.result.pairs},
          {"lambda", run.result.lambda},
          {"c", run.result.offset},
          {"auc", run.result.best_auc},
          {"best_epoch", run.result.best_epoch},
          {"blend", run.result.blend}};
}

void copy_best(const VariedResult& result, const std::string& out) {
  const std::string& best = result.runs[result.best].options.out;
  copy_companion_files(ModelDirectory::open(best), out);
  fs::copy_file(best + "/model.safetensors", out + "/model.safetensors.partial", fs::copy_options::overwrite_existing);
  fs::rename(out + "/model.safetensors.partial", out + "/model.safetensors");
  Json json = Json::parse(read_file(best + "/promptcache.json"));
  for (const VariedRun& run : result.runs) json["runs"].push_back(json_of(run));
  write_file_atomically(out + "/promptcache.json", json.dump(2) + "\n");
}

}  // namespace

VariedResult train_variations(const TrainOptions& options, const Variations& variations,
                              const TrainCallbacks& callbacks) {
  if (variations.seeds == 0) throw Error(ErrorCode::usage, {"seeds"}, "0", "at least 1");
  for (const Calibration& head : variations.heads) {
    if (head.lambda > 0) continue;
    throw Error(ErrorCode::usage, {"lambda"}, std::to_string(head.lambda), "a number above 0");
  }
  if (!options.resume) prepare_output(options);
  VariedResult result;
  for (VariedRun& run : runs_of(options, variations)) {
    if (callbacks.log) callbacks.log(LogLevel::info, run.options.out);
    if (!options.resume || !read_finished(run)) {
      run.options.resume = options.resume && fs::exists(run.options.out + "/checkpoint.safetensors");
      run.result = train(run.options, callbacks);
      if (run.result.interrupted) {
        result.interrupted = true;
        return result;
      }
    }
    result.runs.push_back(std::move(run));
  }
  const auto worse = [](const VariedRun& a, const VariedRun& b) {
    return std::pair(a.options.share, a.result.best_auc) < std::pair(b.options.share, b.result.best_auc);
  };
  result.best =
      static_cast<std::size_t>(std::max_element(result.runs.begin(), result.runs.end(), worse) - result.runs.begin());
  copy_best(result, options.out);
  return result;
}

}  // namespace promptcache::train
