#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace promptcache::text {

/// Bytes merged to tokens, pair by pair, the pair of the lowest rank first and the leftmost of these.
class Bpe {
 public:
  /// The token of each single byte; -1: there is none, and encoding leaves it out.
  explicit Bpe(const std::array<std::int32_t, 256>& bytes) : bytes_(bytes) {}

  /// Of several merges of one pair the first counts.
  void add_merge(std::int32_t left, std::int32_t right, std::int32_t merged);

  /// Appends the tokens of a word; nothing is merged across a byte without a token. O(n log n) for n bytes.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

 private:
  struct Merge {
    std::uint32_t rank;
    std::int32_t merged;
  };
  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint32_t>(right);
  }

  std::int32_t token_of(char byte) const { return bytes_[static_cast<unsigned char>(byte)]; }
  void encode_known(std::string_view bytes, std::vector<std::int32_t>& ids) const;

  std::array<std::int32_t, 256> bytes_;
  std::unordered_map<std::uint64_t, Merge> merges_;
};

/// The bytes that a token of the vocabulary stands for: byte-level BPE writes each byte as a printable character, the
/// 68 bytes that are none as U+0100 and up. Nothing when there is another character in it.
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace promptcache::text
