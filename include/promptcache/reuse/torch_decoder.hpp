#pragma once

#include <memory>
#include <string>

#include "promptcache/reuse/decoder.hpp"

namespace promptcache::reuse {

enum class WeightType { f32, bf16 };

struct TorchDecoderOptions {
  WeightType weights = WeightType::f32;  ///< bf16: rounded to nearest when they are loaded; sums are f32 all the same
  KvType kv = KvType::f32;
  std::string device = "cpu";  ///< as LibTorch names them; keys and values stay in the host's memory

  /// Attention and all else by LibTorch's plain operations over one mask, the oracle of the kernels for the CPU; always
  /// so on other devices. Weights in bf16 are then widened to f32.
  bool reference = false;
};

/// A decoder on LibTorch. Uses as many threads as LibTorch is told to (`at::set_num_threads`). Throws `Error`: what
/// reading the weights throws, and unsupported for a device that is not there.
std::shared_ptr<const Decoder> make_torch_decoder(const DecoderFile& file, const TorchDecoderOptions& options = {});

}  // namespace promptcache::reuse
