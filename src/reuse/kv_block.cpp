#include "promptcache/reuse/kv_block.hpp"

#include <cstring>
#include <utility>

#include "promptcache/base/error.hpp"
#include "reuse/aligned.hpp"
#include "reuse/bf16.hpp"

namespace promptcache::reuse {
namespace {

std::size_t rounded(std::size_t tokens) {
  return (tokens + KvBlock::granule - 1) / KvBlock::granule * KvBlock::granule;
}

}  // namespace

KvBlock::KvBlock(const KvShape& shape, std::size_t tokens)
    : KvBlock(shape, tokens, 0, tokens > most_tokens ? nullptr : aligned_zeros(bytes_for(shape, tokens))) {}

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

void KvBlock::copy_rows(const KvBlock& from, std::size_t rows) {
  resize(rows);
  const std::size_t value = shape_.value_bytes();
  for (std::size_t layer = 0; layer < shape_.layers; ++layer) {
    for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
      for (std::size_t i = 0; i < shape_.head_size; ++i) {
        std::memcpy(keys(layer, head) + i * capacity_ * value, from.keys(layer, head) + i * from.capacity_ * value,
                    rows * value);
      }
      std::memcpy(values(layer, head), from.values(layer, head), rows * shape_.head_size * value);
    }
  }
}

void KvBlock::read_row(std::size_t layer, std::size_t row, float* keys, float* values) const {
  const std::size_t size = shape_.head_size;
  for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t key = i * capacity_ + row, value = row * size + i, to = head * size + i;
      if (shape_.type == KvType::f32) {
        keys[to] = reinterpret_cast<const float*>(this->keys(layer, head))[key];
        values[to] = reinterpret_cast<const float*>(this->values(layer, head))[value];
      } else {
        keys[to] = from_bf16(reinterpret_cast<const std::uint16_t*>(this->keys(layer, head))[key]);
        values[to] = from_bf16(reinterpret_cast<const std::uint16_t*>(this->values(layer, head))[value]);
      }
    }
  }
}

std::size_t KvBlock::bytes_for(const KvShape& shape, std::size_t tokens) noexcept {
  return shape.bytes_per_token() * rounded(tokens);
}

}  // namespace promptcache::reuse
