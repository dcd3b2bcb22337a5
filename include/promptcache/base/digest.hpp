#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>  // hash, specialised below
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace promptcache {

/// A SHA-256 value (FIPS 180-4). Ordered and hashable, so it can be a key.
struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  /// 64 lower-case hexadecimal digits.
  std::string hex() const;

  /// The 32 bytes as they are.
  std::string_view view() const noexcept { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

  /// From `hex()`; nothing for any other text.
  static std::optional<Digest> from_hex(std::string_view text);

  auto operator<=>(const Digest&) const = default;
};

/// Incremental SHA-256. Not thread-safe; one object per digest.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  /// Adds raw bytes.
  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);

  /// Adds `name` and `value`, each behind its 8-byte little-endian length, so that no two different
  /// sequences of fields give the same bytes.
  Sha256& field(std::string_view name, std::string_view value);

  /// The digest of everything added; the object is spent afterwards.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// SHA-256 of one text.
Digest sha256(std::string_view text);

/// HMAC-SHA-256 (RFC 2104): a digest that only those who have the secret can make.
Digest hmac_sha256(std::string_view secret, std::string_view text);

/// SHA-256 of a file's content. Throws `Error(io)` naming the path.
Digest sha256_file(const std::string& path);

}  // namespace promptcache

template <>
struct std::hash<promptcache::Digest> {
  std::size_t operator()(const promptcache::Digest& digest) const noexcept {
    std::size_t value = 0;  // a digest is uniform: its first bytes are a hash already
    for (std::size_t i = 0; i < sizeof(value); ++i) value = (value << 8) | digest.bytes[i];
    return value;
  }
};
