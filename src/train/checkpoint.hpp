#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace promptcache::train {

/// Tensors by name and facts by name, in one safetensors file: written whole or not at all.
struct Checkpoint {
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  std::map<std::string, std::string> facts;
};

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint);

/// Copies the file's values into the tensors, which must be there with these shapes, and returns the facts.
std::map<std::string, std::string> load_checkpoint(const std::string& path, Checkpoint& into);

}  // namespace promptcache::train
