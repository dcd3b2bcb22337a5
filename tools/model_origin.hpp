#pragma once

#include <optional>
#include <string>
#include <vector>

#include "promptcache/eval/platt.hpp"

namespace tool {

/// How a model came about, as pc-train keeps it in promptcache.json.
struct ModelOrigin {
  std::string loss;
  promptcache::Calibration training_head;  ///< lambda and c at the end of training; those written, if it names no other
  double training_pairs = 0;
  double parameters = 0;  ///< elements of all tensors of model.safetensors
};

/// Empty when promptcache.json is absent or does not say all of it.
std::optional<ModelOrigin> read_origin(const std::string& model_directory);

/// Names under which promptcache.json has the SHA-256 of a file ("train", "valid").
std::vector<std::string> sources_with_digest(const std::string& model_directory, const std::string& sha256);

}  // namespace tool
