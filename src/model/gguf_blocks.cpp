#include "model/gguf_blocks.hpp"

#include <algorithm>
#include <iterator>

#include "model/half.hpp"

namespace promptcache {
namespace {

// The layouts are those of ggml's block_* structures.

unsigned byte_at(const std::byte* bytes, std::size_t i) { return std::to_integer<unsigned>(bytes[i]); }

float half_at(const std::byte* bytes, std::size_t i) { return half_to_float(load<std::uint16_t>(bytes + i)); }

float signed_at(const std::byte* bytes, std::size_t i) { return static_cast<float>(load<std::int8_t>(bytes + i)); }

void decode_f32(const std::byte* block, float* values) { *values = load<float>(block); }
void decode_f16(const std::byte* block, float* values) { *values = half_at(block, 0); }
void decode_bf16(const std::byte* block, float* values) { *values = brain_to_float(load<std::uint16_t>(block)); }

/// A scale and 32 signed bytes.
void decode_q8_0(const std::byte* block, float* values) {
  const float scale = half_at(block, 0);
  for (std::size_t i = 0; i < 32; ++i) values[i] = scale * signed_at(block, 2 + i);
}

/// 32 codes of 4 bits: the low halves of 16 bytes, then the high ones.
void decode_4_bits(const std::byte* codes, float zero, float scale, float least, float* values) {
  for (std::size_t i = 0; i < 16; ++i) {
    values[i] = (static_cast<float>(byte_at(codes, i) & 15U) - zero) * scale + least;
    values[i + 16] = (static_cast<float>(byte_at(codes, i) >> 4) - zero) * scale + least;
  }
}

void decode_q4_0(const std::byte* block, float* values) { decode_4_bits(block + 2, 8, half_at(block, 0), 0, values); }

void decode_q4_1(const std::byte* block, float* values) {
  decode_4_bits(block + 4, 0, half_at(block, 0), half_at(block, 2), values);
}

struct ScaleAndLeast {
  unsigned scale, least;
};

/// The six-bit scale and least value of one of the eight parts of a block of Q4_K, packed into 12 bytes.
ScaleAndLeast part_of_q4_k(const std::byte* packed, std::size_t part) {
  if (part < 4) return {byte_at(packed, part) & 63U, byte_at(packed, part + 4) & 63U};
  return {(byte_at(packed, part + 4) & 15U) | ((byte_at(packed, part - 4) >> 6) << 4),
          (byte_at(packed, part + 4) >> 4) | ((byte_at(packed, part) >> 6) << 4)};
}

/// Scale of the scales, scale of the least values, these of 8 parts of 32 values, and 4 bits a value; the low halves of
/// 32 bytes are a part, the high halves the next.
void decode_q4_k(const std::byte* block, float* values) {
  const float scale = half_at(block, 0), least = half_at(block, 2);
  for (std::size_t part = 0; part < 8; ++part) {
    const ScaleAndLeast own = part_of_q4_k(block + 4, part);
    const float own_scale = scale * static_cast<float>(own.scale), own_least = least * static_cast<float>(own.least);
    const std::byte* codes = block + 16 + part / 2 * 32;
    for (std::size_t i = 0; i < 32; ++i) {
      const unsigned code = part % 2 == 0 ? byte_at(codes, i) & 15U : byte_at(codes, i) >> 4;
      values[part * 32 + i] = own_scale * static_cast<float>(code) - own_least;
    }
  }
}

/// Four low bits of each of 256 values, two high bits, a signed scale for each 16 values, and a scale of these.
void decode_q6_k(const std::byte* block, float* values) {
  const std::byte *low = block, *high = block + 128, *scales = block + 192;
  const float scale = half_at(block, 208);
  for (std::size_t half = 0; half < 2; ++half) {
    for (std::size_t quarter = 0; quarter < 4; ++quarter) {
      for (std::size_t i = 0; i < 32; ++i) {
        const unsigned byte = byte_at(low, half * 64 + quarter % 2 * 32 + i);
        const unsigned bits = quarter < 2 ? byte & 15U : byte >> 4;
        const unsigned top = (byte_at(high, half * 32 + i) >> (2 * quarter)) & 3U;
        const float own = scale * signed_at(scales, half * 8 + quarter * 2 + i / 16);
        values[half * 128 + quarter * 32 + i] = own * (static_cast<float>(bits | (top << 4)) - 32);
      }
    }
  }
}

constexpr GgufBlock blocks[] = {
    {0, "F32", 1, 4, decode_f32},        {1, "F16", 1, 2, decode_f16},        {2, "Q4_0", 32, 18, decode_q4_0},
    {3, "Q4_1", 32, 20, decode_q4_1},    {6, "Q5_0", 32, 22, nullptr},        {7, "Q5_1", 32, 24, nullptr},
    {8, "Q8_0", 32, 34, decode_q8_0},    {9, "Q8_1", 32, 36, nullptr},        {10, "Q2_K", 256, 84, nullptr},
    {11, "Q3_K", 256, 110, nullptr},     {12, "Q4_K", 256, 144, decode_q4_k}, {13, "Q5_K", 256, 176, nullptr},
    {14, "Q6_K", 256, 210, decode_q6_k}, {15, "Q8_K", 256, 292, nullptr},     {24, "I8", 1, 1, nullptr},
    {25, "I16", 1, 2, nullptr},          {26, "I32", 1, 4, nullptr},          {27, "I64", 1, 8, nullptr},
    {28, "F64", 1, 8, nullptr},          {30, "BF16", 1, 2, decode_bf16},
};

}  // namespace

const GgufBlock* gguf_block(std::uint32_t type) {
  const auto* found =
      std::find_if(std::begin(blocks), std::end(blocks), [&](const GgufBlock& block) { return block.type == type; });
  return found == std::end(blocks) ? nullptr : found;
}

}  // namespace promptcache
