#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace promptcache::index {

/// What the codes of a vector x mean, whole numbers from -127 to 127: x = scale * codes, but for a rest of length
/// `error`.
struct CodeScale {
  float scale = 0;
  float error = 0;
};

/// Bytes of a row of codes: those behind `width` are 0, so that kernels need not mind the end of a row.
constexpr std::size_t code_stride(std::size_t width) { return (width + 31) / 32 * 32; }

/// Writes a vector's codes, `code_stride` of them.
CodeScale quantize(std::span<const float> vector, std::int8_t* codes);

/// What was quantised, but for the rest.
void dequantize(const std::int8_t* codes, CodeScale scale, std::span<float> out);

/// The largest value of a query for which no sum of 32 bits overflows: 16 bits up to 516 values.
constexpr std::int32_t largest_query_value(std::size_t stride) {
  const auto most = static_cast<std::int32_t>(0x7FFFFFFF / (127 * stride));
  return most < 32767 ? most : 32767;
}

/// A query in 16 bits, so that nearly all of a similarity's error is the other vector's.
class CodedQuery {
 public:
  void assign(std::span<const float> query);

  const std::int16_t* values() const noexcept { return values_.data(); }

  /// The similarity, of what `dot_codes` found.
  float similarity(float dot, CodeScale row) const noexcept { return dot * scale_ * row.scale; }

  /// How far from the similarity of the codes that of the vectors can be, their rounding in f32 included.
  float slack(CodeScale row) const noexcept { return length_ * row.error + error_ * row.scale + rounding; }

 private:
  static constexpr float rounding = 1e-5F;

  std::vector<std::int16_t> values_;
  float scale_ = 0;
  float length_ = 0;
  float error_ = 0;  // for a row of scale 1
};

/// Inner products of a query with `count` rows of codes, `stride` apart.
void dot_codes(const std::int16_t* query, const std::int8_t* rows, std::size_t count, std::size_t stride, float* out);

/// The same with rows anywhere in memory; each is fetched while another is worked on.
void dot_codes_at(const std::int16_t* query, const std::int8_t* const* rows, std::size_t count, std::size_t stride,
                  float* out);

/// Inner product of two rows of codes, of the active instruction set, for callers that ask millions of times.
using CodeDotFunction = float (*)(const std::int8_t* a, const std::int8_t* b, std::size_t stride);
CodeDotFunction active_code_dot();

}  // namespace promptcache::index
