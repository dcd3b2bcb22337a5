#include "train/inputs.hpp"

#include <algorithm>

#include "promptcache/base/digest.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/pairs/split.hpp"

namespace promptcache::train {
namespace {

PairFile read(const std::string& path, bool both_classes) {
  PairFile file = read_pair_file(path);
  const auto positives =
      std::count_if(file.pairs.begin(), file.pairs.end(), [](const Pair& p) { return p.positive(); });
  if (both_classes && (positives == 0 || static_cast<std::size_t>(positives) == file.pairs.size())) {
    throw Error(ErrorCode::usage, {path}, positives == 0 ? "negative pairs only" : "positive pairs only",
                "pairs of both classes");
  }
  return file;
}

}  // namespace

Json digests_of(const TrainOptions& options, const ModelDirectory& directory) {
  Json mix = Json::array();
  Json guards = Json::array();
  for (const MixedSet& set : options.mix) mix.push_back(sha256_file(set.path).hex());
  for (const std::string& path : options.guards) guards.push_back(sha256_file(path).hex());
  return {{"base_model", sha256_file(directory.file("model.safetensors")).hex()},
          {"train", sha256_file(options.train).hex()},
          {"valid", sha256_file(options.valid).hex()},
          {"mix", mix},
          {"guards", guards}};
}

Inputs read_inputs(const TrainOptions& options, const ModelDirectory& directory, std::size_t max_tokens,
                   const std::optional<PairReading>& reading, const LogCallback& log) {
  const auto warn = [&](const std::string& text) {
    if (log) log(LogLevel::warning, text);
  };
  std::vector<PairFile> judged = {read(options.valid, true)};
  for (const std::string& path : options.guards) judged.push_back(read(path, true));
  // One class can be trained on, but a head cannot be fitted to it.
  std::vector<PairFile> trained = {read(options.train, options.head != Head::fixed)};
  if (options.share < 1) trained.front().pairs = nested_share(trained.front().pairs, options.share);
  for (const MixedSet& set : options.mix) trained.push_back(read(set.path, false));

  std::vector<WeightedPairs> sets;
  for (const PairFile& file : trained) {
    for (const PairFile& other : judged) {
      if (const std::size_t shared = shared_questions(file.pairs, other.pairs); shared > 0) {
        warn(std::to_string(shared) + " questions of " + other.path + " are in " + file.path +
             " too: the AUC there will flatter (split with pc-mine split)");
      }
    }
    sets.push_back({&file.pairs, sets.empty() ? 1 : options.mix[sets.size() - 1].weight});
  }
  const std::shared_ptr<const Tokenizer> tokenizer = open_tokenizer(directory);
  std::size_t truncated = 0;
  const auto tokenized = [&](const std::vector<WeightedPairs>& parts) {
    Dataset data = reading ? make_paired_dataset(parts, *tokenizer, *reading)
                           : make_dataset(parts, *tokenizer, directory.prefix(), max_tokens);
    truncated += data.truncated;
    return data;
  };
  Dataset train = tokenized(sets);
  std::vector<Dataset> judging;
  for (const PairFile& file : judged) judging.push_back(tokenized({{&file.pairs}}));
  if (truncated > 0) {
    warn(std::to_string(truncated) + (reading ? " pairs" : " texts") + " were longer than " +
         std::to_string(max_tokens) + " tokens and are cut");
  }
  return {std::move(train), Judge(std::move(judging), options.guard_slack, reading), digests_of(options, directory),
          truncated};
}

}  // namespace promptcache::train
