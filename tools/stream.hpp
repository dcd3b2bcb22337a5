#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/eval/simulation.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace tool {

/// Prompts as one encoder sees them.
struct Stream {
  promptcache::PromptSet prompts;
  promptcache::PromptVectors vectors;
};

/// The prompts of labelled pairs; of more than `most` a random part.
Stream make_stream(const promptcache::Embedder& embedder, const std::vector<promptcache::Pair>& pairs, std::size_t most,
                   std::size_t threads, const promptcache::ProgressCallback& progress);

/// Thresholds from `from` to 1, `step` apart, both in hundred-thousandths exactly.
std::vector<double> threshold_grid(double from = 0.3, double step = 0.01);

/// A cache without bound over thresholds 0.30, 0.31 ... 1.00 on one stream, and the one that a second stream chose.
struct StreamSweep {
  std::size_t prompts = 0;
  std::size_t repeats = 0;  ///< most hits that can be right
  std::vector<promptcache::StreamScore> points;
  promptcache::StreamScore chosen;  ///< on this stream, at the threshold most efficient on the other
};

/// Throws `Error(usage)` when no hit on `chooses` can be right.
StreamSweep sweep_stream(const Stream& scored, const Stream& chooses, std::size_t threads = 1);

/// One line for the terminal.
std::string sweep_text(const StreamSweep& sweep);

nlohmann::ordered_json to_json(const StreamSweep& sweep);

/// Mean counts a shuffle, rates, and the efficiency with its quantiles; what is undefined is null.
nlohmann::ordered_json to_json(const promptcache::StreamScore& score);

}  // namespace tool
