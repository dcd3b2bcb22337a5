#include "index/dot.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "index/dot.cpp"
#include <hwy/foreach_target.h>  // includes this file once for each target

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace promptcache::index {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void dot_rows(const float* query, const float* rows, std::size_t count, std::size_t width, float* out) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t row = 0; row < count; ++row, rows += width) {
    auto first = hn::Zero(d);  // two sums, so that one addition need not wait for the other
    auto second = hn::Zero(d);
    std::size_t i = 0;
    for (; i + 2 * lanes <= width; i += 2 * lanes) {
      first = hn::MulAdd(hn::LoadU(d, query + i), hn::LoadU(d, rows + i), first);
      second = hn::MulAdd(hn::LoadU(d, query + i + lanes), hn::LoadU(d, rows + i + lanes), second);
    }
    float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(first, second)));
    for (; i < width; ++i) sum += query[i] * rows[i];
    out[row] = sum;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace promptcache::index
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "promptcache/base/isa.hpp"

namespace promptcache::index {

HWY_EXPORT(dot_rows);

void dot_rows(const float* query, const float* rows, std::size_t count, std::size_t width, float* out) {
  active_isa();  // applies PROMPTCACHE_ISA before the first dispatch
  HWY_DYNAMIC_DISPATCH(dot_rows)(query, rows, count, width, out);
}

}  // namespace promptcache::index

#endif  // HWY_ONCE
