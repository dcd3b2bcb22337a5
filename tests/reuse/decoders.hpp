#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "promptcache/reuse/compute.hpp"
#include "promptcache/reuse/torch_decoder.hpp"
#include "support.hpp"

namespace test {

/// A small decoder of tests/data: tiny_llama, tiny_gpt2 or tiny_mpt.
inline std::shared_ptr<const promptcache::reuse::Decoder> tiny_decoder(
    const std::string& name, const promptcache::reuse::TorchDecoderOptions& options = {}) {
  using namespace promptcache::reuse;
  return make_torch_decoder(DecoderFile::open(data_file(name)), options);
}

/// Tokens that look random, below 300.
inline std::vector<std::int32_t> some_tokens(std::size_t count, std::size_t seed = 0) {
  std::vector<std::int32_t> tokens;
  std::uint64_t state = seed * 7919 + 12345;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    tokens.push_back(static_cast<std::int32_t>((state >> 33) % 300));
  }
  return tokens;
}

/// Largest difference of two lists of equal length.
inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return largest;
}

}  // namespace test
