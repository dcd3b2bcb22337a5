#include "index/quantize.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "index/quantize.cpp"
#include <hwy/foreach_target.h>  // includes this file once for each target

#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace promptcache::index {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A row is a multiple of 32 codes, so vectors of 32 values of 16 bits are the widest of use.
using Wide = hn::CappedTag<std::int16_t, 32>;
using Sums = hn::RepartitionToWide<Wide>;
using Narrow = hn::Rebind<std::int8_t, Wide>;

/// Sums as floats: a lane holds a part that fits, their total might not.
template <class Vector>
HWY_INLINE float total(Vector sums) {
  const hn::Rebind<float, Sums> floats;
  return hn::GetLane(hn::SumOfLanes(floats, hn::ConvertTo(floats, sums)));
}

HWY_INLINE hn::VFromD<Wide> widened(const std::int8_t* codes) {
  return hn::PromoteTo(Wide(), hn::LoadU(Narrow(), codes));
}

/// Rows beside each other share what is loaded of the query.
template <std::size_t rows>
HWY_INLINE void dot_some(const std::int16_t* query, const std::int8_t* const* codes, std::size_t stride, float* out) {
  const Wide wide;
  const Sums sums;
  const std::size_t lanes = hn::Lanes(wide);
  hn::VFromD<Sums> sum[rows];
  hn::VFromD<Sums> more[rows];
  for (std::size_t row = 0; row < rows; ++row) sum[row] = more[row] = hn::Zero(sums);
  for (std::size_t i = 0; i < stride; i += lanes) {
    const auto values = hn::LoadU(wide, query + i);
    for (std::size_t row = 0; row < rows; ++row) {
      sum[row] = hn::ReorderWidenMulAccumulate(sums, values, widened(codes[row] + i), sum[row], more[row]);
    }
  }
  for (std::size_t row = 0; row < rows; ++row) out[row] = total(hn::Add(sum[row], more[row]));
}

float dot_code_pair(const std::int8_t* a, const std::int8_t* b, std::size_t stride) {
  const Sums sums;
  auto sum = hn::Zero(sums);
  auto more = hn::Zero(sums);
  for (std::size_t i = 0; i < stride; i += hn::Lanes(Wide())) {
    sum = hn::ReorderWidenMulAccumulate(sums, widened(a + i), widened(b + i), sum, more);
  }
  return total(hn::Add(sum, more));
}

void dot_codes(const std::int16_t* query, const std::int8_t* rows, std::size_t count, std::size_t stride, float* out) {
  std::size_t row = 0;
  for (; row + 4 <= count; row += 4) {
    const std::int8_t* first = rows + row * stride;
    const std::int8_t* four[4] = {first, first + stride, first + 2 * stride, first + 3 * stride};
    dot_some<4>(query, four, stride, out + row);
  }
  for (; row < count; ++row) {
    const std::int8_t* one = rows + row * stride;
    dot_some<1>(query, &one, stride, out + row);
  }
}

void dot_codes_at(const std::int16_t* query, const std::int8_t* const* rows, std::size_t count, std::size_t stride,
                  float* out) {
  const auto fetch = [&](std::size_t row) {
    if (row >= count) return;
    for (std::size_t i = 0; i < stride; i += 64) hwy::Prefetch(rows[row] + i);
  };
  for (std::size_t row = 0; row < 4; ++row) fetch(row);
  std::size_t row = 0;
  for (; row + 4 <= count; row += 4) {
    for (std::size_t ahead = 4; ahead < 8; ++ahead) fetch(row + ahead);
    dot_some<4>(query, rows + row, stride, out + row);
  }
  for (; row < count; ++row) dot_some<1>(query, rows + row, stride, out + row);
}

}  // namespace HWY_NAMESPACE
}  // namespace promptcache::index
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <cmath>
#include <limits>

#include "index/dot.hpp"
#include "promptcache/base/isa.hpp"

namespace promptcache::index {
namespace {

/// To the nearest whole number, ties to even, of values below 2^22: an addition that leaves no bits for a fraction. The
/// compiler makes vectors of it, which it does not of a call to `nearbyint`.
float rounded(float value) {
  constexpr float no_fraction = 3 << 22;
  return value + no_fraction - no_fraction;
}

/// Writes the whole numbers nearest to vector / scale, the largest of them `largest`.
template <class Code>
CodeScale round_to(float largest, std::span<const float> vector, Code* out) {
  float most = 0;
  for (const float value : vector) most = std::max(most, std::abs(value));
  CodeScale result;
  if (most < std::numeric_limits<float>::min() * largest) {  // 0, or too small to be divided by
    std::fill_n(out, vector.size(), Code{0});
    result.error = most * std::sqrt(static_cast<float>(vector.size()));
    return result;
  }
  result.scale = most / largest;
  const float factor = largest / most;
  constexpr std::size_t sums = 8;  // beside each other, in vectors again
  float rests[sums] = {};
  for (std::size_t i = 0; i < vector.size(); ++i) {
    const float code = rounded(vector[i] * factor);
    out[i] = static_cast<Code>(code);
    const float rest = vector[i] - result.scale * code;
    rests[i % sums] += rest * rest;
  }
  float rest = 0;
  for (const float part : rests) rest += part;
  result.error = std::sqrt(rest) * 1.0001F;  // its own rounding
  return result;
}

}  // namespace

HWY_EXPORT(dot_codes);
HWY_EXPORT(dot_codes_at);
HWY_EXPORT(dot_code_pair);

CodeScale quantize(std::span<const float> vector, std::int8_t* codes) {
  std::fill(codes + vector.size(), codes + code_stride(vector.size()), std::int8_t{0});
  return round_to(127, vector, codes);
}

void dequantize(const std::int8_t* codes, CodeScale scale, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = scale.scale * static_cast<float>(codes[i]);
}

void CodedQuery::assign(std::span<const float> query) {
  const std::size_t stride = code_stride(query.size());
  values_.resize(stride);
  std::fill(values_.begin() + static_cast<std::ptrdiff_t>(query.size()), values_.end(), std::int16_t{0});
  const CodeScale rounded_query = round_to(static_cast<float>(largest_query_value(stride)), query, values_.data());
  scale_ = rounded_query.scale;
  float square = 0;
  dot_rows(query.data(), query.data(), 1, query.size(), &square);
  length_ = std::sqrt(square) * 1.0001F;
  error_ = rounded_query.error * 127 * std::sqrt(static_cast<float>(query.size()));
}

void dot_codes(const std::int16_t* query, const std::int8_t* rows, std::size_t count, std::size_t stride, float* out) {
  active_isa();
  HWY_DYNAMIC_DISPATCH(dot_codes)(query, rows, count, stride, out);
}

void dot_codes_at(const std::int16_t* query, const std::int8_t* const* rows, std::size_t count, std::size_t stride,
                  float* out) {
  active_isa();
  HWY_DYNAMIC_DISPATCH(dot_codes_at)(query, rows, count, stride, out);
}

CodeDotFunction active_code_dot() {
  active_isa();  // applies PROMPTCACHE_ISA before the first dispatch
  static constexpr std::int8_t nothing = 0;
  HWY_DYNAMIC_DISPATCH(dot_code_pair)(&nothing, &nothing, 0);  // the first call of all chooses the target
  return &HWY_DYNAMIC_DISPATCH(dot_code_pair);
}

}  // namespace promptcache::index

#endif  // HWY_ONCE
