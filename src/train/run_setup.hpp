#pragma once

#include <torch/torch.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "promptcache/eval/platt.hpp"
#include "promptcache/train/losses.hpp"
#include "promptcache/train/trainer.hpp"

namespace promptcache::train {

using Json = nlohmann::ordered_json;

/// Throws `Error` naming the first option that is out of range.
void check_options(const TrainOptions& options);

Loss parse_loss(const std::string& name);
const char* name_of(Head head);
const char* name_of(Kind kind);

/// "auto" takes CUDA where there is one.
torch::Device parse_device(const std::string& name);

/// Whether matrix products are in bf16; "auto" takes it on CUDA, where it is faster.
bool parse_bf16(const std::string& name, torch::Device device);

/// What the result depends on beside the data, as checkpoints and promptcache.json keep it.
Json settings_of(const TrainOptions& options, std::size_t max_tokens);

/// Makes the output directory, or takes over that of an unfinished run. Returns the path of its checkpoint.
std::string prepare_output(const TrainOptions& options);

/// Platt's fit, but never flatter than one logit a standard deviation: on pairs chosen to be hard the untouched model's
/// similarities say nothing about the label, the fit is flat or falls, and no similarity could move the loss.
Calibration starting_head(const std::vector<double>& similarities, const std::vector<double>& labels);

}  // namespace promptcache::train
