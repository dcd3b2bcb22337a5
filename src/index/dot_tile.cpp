#include "index/dot_tile.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "index/dot_tile.cpp"
#include <hwy/foreach_target.h>  // includes this file once for each target

#include <hwy/highway.h>

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace promptcache::index {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;

/// Adds what does not fill a vector. One function for all products, as a compiler may round them differently in two.
HWY_NOINLINE float with_rest(float sum, const float* a, const float* b, std::size_t begin, std::size_t width) {
  for (std::size_t i = begin; i < width; ++i) sum += a[i] * b[i];
  return sum;
}

template <class V>
HWY_INLINE float finish(V sum, const float* a, const float* b, std::size_t begin, std::size_t width) {
  const float lanes = hn::GetLane(hn::SumOfLanes(Floats(), sum));
  return begin < width ? with_rest(lanes, a, b, begin, width) : lanes;
}

HWY_INLINE float dot_one(const float* a, const float* b, std::size_t width) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  auto sum = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  return finish(sum, a, b, i, width);
}

/// Four rows with three: each of the twelve sums is added up exactly as in `dot_one`.
HWY_INLINE void dot_4x3(const float* a, const float* b, std::size_t width, float* out, std::size_t stride) {
  const Floats d;
  const std::size_t lanes = hn::Lanes(d);
  const float* const a1 = a + width;
  const float* const a2 = a1 + width;
  const float* const a3 = a2 + width;
  const float* const b1 = b + width;
  const float* const b2 = b1 + width;
  auto s00 = hn::Zero(d), s01 = hn::Zero(d), s02 = hn::Zero(d);
  auto s10 = hn::Zero(d), s11 = hn::Zero(d), s12 = hn::Zero(d);
  auto s20 = hn::Zero(d), s21 = hn::Zero(d), s22 = hn::Zero(d);
  auto s30 = hn::Zero(d), s31 = hn::Zero(d), s32 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto y0 = hn::LoadU(d, b + i);
    const auto y1 = hn::LoadU(d, b1 + i);
    const auto y2 = hn::LoadU(d, b2 + i);
    auto x = hn::LoadU(d, a + i);
    s00 = hn::MulAdd(x, y0, s00);
    s01 = hn::MulAdd(x, y1, s01);
    s02 = hn::MulAdd(x, y2, s02);
    x = hn::LoadU(d, a1 + i);
    s10 = hn::MulAdd(x, y0, s10);
    s11 = hn::MulAdd(x, y1, s11);
    s12 = hn::MulAdd(x, y2, s12);
    x = hn::LoadU(d, a2 + i);
    s20 = hn::MulAdd(x, y0, s20);
    s21 = hn::MulAdd(x, y1, s21);
    s22 = hn::MulAdd(x, y2, s22);
    x = hn::LoadU(d, a3 + i);
    s30 = hn::MulAdd(x, y0, s30);
    s31 = hn::MulAdd(x, y1, s31);
    s32 = hn::MulAdd(x, y2, s32);
  }
  float* const out1 = out + stride;
  float* const out2 = out1 + stride;
  float* const out3 = out2 + stride;
  out[0] = finish(s00, a, b, i, width);
  out[1] = finish(s01, a, b1, i, width);
  out[2] = finish(s02, a, b2, i, width);
  out1[0] = finish(s10, a1, b, i, width);
  out1[1] = finish(s11, a1, b1, i, width);
  out1[2] = finish(s12, a1, b2, i, width);
  out2[0] = finish(s20, a2, b, i, width);
  out2[1] = finish(s21, a2, b1, i, width);
  out2[2] = finish(s22, a2, b2, i, width);
  out3[0] = finish(s30, a3, b, i, width);
  out3[1] = finish(s31, a3, b1, i, width);
  out3[2] = finish(s32, a3, b2, i, width);
}

void dot_tile(const float* a, std::size_t a_count, const float* b, std::size_t b_count, std::size_t width, float* out,
              std::size_t stride) {
  constexpr std::size_t panel = 48;  // rows of b that stay in the second-level cache while all of a pass
  const std::size_t whole_a = a_count / 4 * 4;
  for (std::size_t begin = 0; begin < b_count; begin += panel) {
    const std::size_t end = std::min(b_count, begin + panel);
    const std::size_t whole_b = begin + (end - begin) / 3 * 3;
    for (std::size_t i = 0; i < whole_a; i += 4) {
      for (std::size_t j = begin; j < whole_b; j += 3) {
        dot_4x3(a + i * width, b + j * width, width, out + i * stride + j, stride);
      }
    }
    for (std::size_t i = 0; i < a_count; ++i) {
      for (std::size_t j = i < whole_a ? whole_b : begin; j < end; ++j) {
        out[i * stride + j] = dot_one(a + i * width, b + j * width, width);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace promptcache::index
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "promptcache/base/isa.hpp"

namespace promptcache::index {

HWY_EXPORT(dot_tile);

void dot_tile(const float* a, std::size_t a_count, const float* b, std::size_t b_count, std::size_t width, float* out,
              std::size_t stride) {
  active_isa();  // applies PROMPTCACHE_ISA before the first dispatch
  HWY_DYNAMIC_DISPATCH(dot_tile)(a, a_count, b, b_count, width, out, stride);
}

}  // namespace promptcache::index

#endif  // HWY_ONCE
