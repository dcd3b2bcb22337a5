#include "promptcache/reuse/kv_block.hpp"

#include <cstring>
#include <new>
#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache::reuse {
namespace {

constexpr std::align_val_t alignment{64};

std::size_t rounded(std::size_t tokens) {
  return (tokens + KvBlock::granule - 1) / KvBlock::granule * KvBlock::granule;
}

std::shared_ptr<std::byte> zeroed(std::size_t bytes) {
  std::shared_ptr<std::byte> memory(static_cast<std::byte*>(::operator new(bytes, alignment)),
                                    [](std::byte* at) { ::operator delete(at, alignment); });
  std::memset(memory.get(), 0, bytes);
  return memory;
}

}  // namespace

KvBlock::KvBlock(const KvShape& shape, std::size_t tokens)
    : KvBlock(shape, tokens, 0, tokens > most_tokens ? nullptr : zeroed(bytes_for(shape, tokens))) {}

KvBlock::KvBlock(const KvShape& shape, std::size_t tokens, std::size_t size, std::shared_ptr<std::byte> memory)
    : shape_(shape), capacity_(rounded(tokens)), size_(size), memory_(std::move(memory)) {
  if (tokens == 0 || tokens > most_tokens || size > capacity_) {
    throw Error(ErrorCode::usage, {"KvBlock"}, std::to_string(size) + " of " + std::to_string(tokens) + " tokens",
                "room for 1 to " + std::to_string(most_tokens));
  }
}

KvBlock KvBlock::clone() const {
  KvBlock copy(shape_, capacity_);
  std::memcpy(copy.memory_.get(), memory_.get(), bytes());
  copy.size_ = size_;
  return copy;
}

void KvBlock::resize(std::size_t rows) {
  if (rows > capacity_) {
    throw Error(ErrorCode::usage, {"KvBlock"}, std::to_string(rows) + " rows",
                "at most the " + std::to_string(capacity_) + " it has room for");
  }
  size_ = rows;
}

std::size_t KvBlock::bytes_for(const KvShape& shape, std::size_t tokens) noexcept {
  return shape.bytes_per_token() * rounded(tokens);
}

}  // namespace promptcache::reuse
