#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/eval/stream.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace tool {

/// The distinct prompts of labelled pairs as a stream, with their texts.
struct Stream {
  promptcache::StreamPrompts prompts;
  std::vector<std::string> texts;
};

/// Embeds the prompts. Of more than `most` prompts those of the first pairs are taken: the simulation is quadratic.
Stream make_stream(const promptcache::Embedder& embedder, const std::vector<promptcache::Pair>& pairs, std::size_t most,
                   std::size_t threads, const promptcache::ProgressCallback& progress);

/// A simulated cache over thresholds 0.30, 0.31 ... 1.00 on one stream, and the one that a second stream chose.
struct StreamSweep {
  std::size_t prompts = 0;
  std::size_t repeats = 0;
  std::vector<promptcache::StreamPoint> points;
  promptcache::StreamPoint chosen;  ///< on this stream, at the threshold most efficient on the other
};

StreamSweep sweep_stream(const Stream& scored, const Stream& chooses);

/// One line for the terminal.
std::string sweep_text(const StreamSweep& sweep);

nlohmann::ordered_json to_json(const StreamSweep& sweep);

}  // namespace tool
