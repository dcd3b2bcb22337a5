#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "promptcache/eval/platt.hpp"
#include "promptcache/train/trainer.hpp"

namespace promptcache::train {

/// What is varied over several runs; every combination is run.
struct Variations {
  std::size_t seeds = 1;                ///< that of the options, and those that follow it
  std::vector<Calibration> heads = {};  ///< fixed heads to compare; none: the head of the options
  std::vector<double> shares = {};      ///< of the training pairs, for a learning curve; none: that of the options

  bool single() const { return seeds == 1 && heads.empty() && shares.empty(); }
};

/// One of several runs, in a directory of its own below the output directory's `runs`.
struct VariedRun {
  std::string group;  ///< what it has in common with the runs of other seeds, "" when only seeds vary
  TrainOptions options;
  TrainResult result;
};

struct VariedResult {
  bool interrupted = false;
  std::vector<VariedRun> runs;  ///< those that are finished
  std::size_t best = 0;         ///< highest validation AUC among the runs with the largest share
};

/// Trains one variation after the other, and copies the best model into `options.out`, with a list of all runs in its
/// promptcache.json. With `options.resume` finished runs are taken as they are. Throws what `train` throws, and
/// `Error(mismatch)` for a finished run of other options or data.
VariedResult train_variations(const TrainOptions& options, const Variations& variations,
                              const TrainCallbacks& callbacks = {});

}  // namespace promptcache::train
