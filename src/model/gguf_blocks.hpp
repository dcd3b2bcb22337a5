#pragma once

#include <cstddef>
#include <cstdint>

namespace promptcache {

/// How a tensor type of GGUF stores its values: blocks of so many values in so many bytes.
struct GgufBlock {
  std::uint32_t type;
  const char* name;
  std::size_t values, bytes;
  void (*decode)(const std::byte* block, float* values);  ///< null: known, but not read
};

/// The description of a type; nothing for an unknown one.
const GgufBlock* gguf_block(std::uint32_t type);

}  // namespace promptcache
