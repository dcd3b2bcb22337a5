#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace promptcache::reuse {

enum class KvType : std::uint32_t { f32, bf16 };

/// What the keys and values of one token are made of.
struct KvShape {
  std::size_t layers = 0;
  std::size_t kv_heads = 0;
  std::size_t head_size = 0;
  KvType type = KvType::f32;

  std::size_t value_bytes() const noexcept { return type == KvType::f32 ? 4 : 2; }
  /// Of keys and values in all layers.
  std::size_t bytes_per_token() const noexcept { return 2 * layers * kv_heads * head_size * value_bytes(); }

  bool operator==(const KvShape&) const = default;
};

/// Keys and values, in all layers, of tokens at consecutive positions. Rotary keys are turned by their row in the block
/// only, not by their position: so the block can stand at any position without being touched, and it is the queries
/// that are turned by the distance to its first row.
///
/// For each layer and head keys lie as [head_size, capacity] and values as [capacity, head_size], each head's keys in
/// front of its values. Copies share their memory. Not safe from several threads while rows are added.
class KvBlock {
 public:
  static constexpr std::size_t most_tokens = 64;
  static constexpr std::size_t granule = 16;  ///< capacities are multiples of it

  /// Room for at least `tokens`, at most `most_tokens`; all zero. Throws `Error(usage)` for any other number.
  KvBlock(const KvShape& shape, std::size_t tokens);

  /// The same over memory of `bytes_for(shape, tokens)` bytes at a multiple of 64, with `size` rows in it.
  KvBlock(const KvShape& shape, std::size_t tokens, std::size_t size, std::shared_ptr<std::byte> memory);

  KvBlock clone() const;  ///< with memory of its own

  const KvShape& shape() const noexcept { return shape_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t size() const noexcept { return size_; }  ///< rows in use
  void resize(std::size_t rows);                       ///< throws `Error(usage)` beyond the capacity

  /// Takes the first rows of a block of the same shape, whatever its capacity, in place of its own.
  void copy_rows(const KvBlock& from, std::size_t rows);

  /// Keys, as they lie there, and values of a row as f32, [kv_heads, head_size] each.
  void read_row(std::size_t layer, std::size_t row, float* keys, float* values) const;

  static std::size_t bytes_for(const KvShape& shape, std::size_t tokens) noexcept;
  std::size_t bytes() const noexcept { return bytes_for(shape_, capacity_); }
  const std::byte* data() const noexcept { return memory_.get(); }

  const std::byte* keys(std::size_t layer, std::size_t head) const noexcept { return at(layer, head); }
  const std::byte* values(std::size_t layer, std::size_t head) const noexcept { return at(layer, head) + plane(); }
  std::byte* keys(std::size_t layer, std::size_t head) noexcept { return at(layer, head); }
  std::byte* values(std::size_t layer, std::size_t head) noexcept { return at(layer, head) + plane(); }

 private:
  std::size_t plane() const noexcept { return shape_.head_size * capacity_ * shape_.value_bytes(); }
  std::byte* at(std::size_t layer, std::size_t head) const noexcept {
    return memory_.get() + 2 * plane() * (layer * shape_.kv_heads + head);
  }

  KvShape shape_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::shared_ptr<std::byte> memory_;
};

}  // namespace promptcache::reuse
