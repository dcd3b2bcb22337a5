#include "index/dot.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "index/dot.cpp"
#include <hwy/foreach_target.h>  // includes this file once for each target

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace promptcache::index {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

float dot(const float* a, const float* b, std::size_t width) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  // Four sums, so that an addition need not wait for the one before it.
  auto s0 = hn::Zero(d);
  auto s1 = hn::Zero(d);
  auto s2 = hn::Zero(d);
  auto s3 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
    s2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), s3);
  }
  for (; i + lanes <= width; i += lanes) s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < width; ++i) sum += a[i] * b[i];
  return sum;
}

void dot_rows(const float* query, const float* rows, std::size_t count, std::size_t width, float* out) {
  for (std::size_t row = 0; row < count; ++row) out[row] = dot(query, rows + row * width, width);
}

}  // namespace HWY_NAMESPACE
}  // namespace promptcache::index
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "promptcache/base/isa.hpp"

namespace promptcache::index {

HWY_EXPORT(dot);
HWY_EXPORT(dot_rows);

DotFunction active_dot() {
  active_isa();                                    // applies PROMPTCACHE_ISA before the first dispatch
  HWY_DYNAMIC_DISPATCH(dot)(nullptr, nullptr, 0);  // the first call of all chooses the target
  return &HWY_DYNAMIC_DISPATCH(dot);
}

void dot_rows(const float* query, const float* rows, std::size_t count, std::size_t width, float* out) {
  active_isa();
  HWY_DYNAMIC_DISPATCH(dot_rows)(query, rows, count, width, out);
}

}  // namespace promptcache::index

#endif  // HWY_ONCE
