#include "train/checkpoint.hpp"

#include "promptcache/model/safetensors.hpp"

namespace promptcache::train {

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  std::vector<torch::Tensor> kept;  // the copies must outlive the write
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    kept.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const torch::Tensor& copy = kept.back();
    tensors.push_back({name, std::vector<std::size_t>(copy.sizes().begin(), copy.sizes().end()),
                       std::span<const float>(copy.data_ptr<float>(), static_cast<std::size_t>(copy.numel()))});
  }
  write_safetensors(path, tensors, checkpoint.facts);
}

std::map<std::string, std::string> load_checkpoint(const std::string& path, Checkpoint& into) {
  const torch::NoGradGuard no_grad;
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (auto& [name, tensor] : into.tensors) {
    const std::vector<std::size_t> shape(tensor.sizes().begin(), tensor.sizes().end());
    std::vector<float> values = file.read_f32(name, shape);
    tensor.copy_(torch::from_blob(values.data(), tensor.sizes(), torch::kFloat32));
  }
  return file.metadata();
}

}  // namespace promptcache::train
