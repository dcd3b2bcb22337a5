#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "promptcache/base/error.hpp"

namespace promptcache::verified {

/// Numbers as 8 bytes each, little-endian.
class StateWriter {
 public:
  void add(std::uint64_t value) {
    for (int i = 0; i < 8; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
  }
  void add(double value) { add(std::bit_cast<std::uint64_t>(value)); }
  void add(std::string_view text) {
    add(static_cast<std::uint64_t>(text.size()));
    bytes_ += text;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// Reads them back; throws `Error(format)` naming `place` for what does not add up.
class StateReader {
 public:
  StateReader(std::string_view bytes, const std::string& place) : rest_(bytes), place_(place) {}

  std::uint64_t whole() {
    const std::string_view eight = take(8);
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value |= static_cast<std::uint64_t>(static_cast<unsigned char>(eight[i])) << (8 * i);
    return value;
  }
  double number() { return std::bit_cast<double>(whole()); }
  std::size_t count(std::size_t most) {
    const std::uint64_t value = whole();
    if (value > most) refuse();
    return static_cast<std::size_t>(value);
  }
  std::string_view text() { return take(count(rest_.size())); }
  std::string_view take(std::size_t bytes) {
    if (bytes > rest_.size()) refuse();
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  void end() const {
    if (!rest_.empty()) refuse();
  }
  [[noreturn]] void refuse() const {
    throw Error(ErrorCode::format, {place_}, "numbers that do not add up", "a state as VerifiedPolicy writes it");
  }

 private:
  std::string_view rest_;
  const std::string& place_;
};

}  // namespace promptcache::verified
