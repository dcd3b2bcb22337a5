#pragma once

#include <string>

#include "promptcache/base/log.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/text/tokenizer.hpp"
#include "promptcache/train/trainer.hpp"
#include "train/dataset.hpp"
#include "train/run_setup.hpp"
#include "train/scoring.hpp"

namespace promptcache::train {

/// The pair files of a run, read, checked and tokenized.
struct Inputs {
  Dataset train;  ///< the training pairs, then those mixed in
  Judge judge;
  Json digests;               ///< `digests_of` the options
  std::size_t truncated = 0;  ///< texts cut to the limit, or pairs that are read together
};

/// SHA-256 of the base model and of each file of a run.
Json digests_of(const TrainOptions& options, const ModelDirectory& directory);

/// Warns `log` of questions that are trained on and judged by, and of texts that are cut. `reading`: how pairs are read
/// together, for a scorer.
Inputs read_inputs(const TrainOptions& options, const ModelDirectory& directory, std::size_t max_tokens,
                   const std::optional<PairReading>& reading, const LogCallback& log);

}  // namespace promptcache::train
