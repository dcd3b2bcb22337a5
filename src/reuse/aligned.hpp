#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

namespace promptcache::reuse {

/// Memory at a multiple of 64 bytes, all zero.
inline std::shared_ptr<std::byte> aligned_zeros(std::size_t bytes) {
  constexpr std::align_val_t alignment{64};
  std::shared_ptr<std::byte> memory(static_cast<std::byte*>(::operator new(bytes, alignment)),
                                    [](std::byte* at) { ::operator delete (at, std::align_val_t{64}); });
  std::memset(memory.get(), 0, bytes);
  return memory;
}

}  // namespace promptcache::reuse
