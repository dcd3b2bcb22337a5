#pragma once

#include <cstddef>

namespace promptcache::index {

/// Inner products of `query` with `count` rows of `width` floats, written to `out`. The instruction set is chosen at
/// run time; sums are taken lane by lane, so results differ between sets in the last bits.
void dot_rows(const float* query, const float* rows, std::size_t count, std::size_t width, float* out);

}  // namespace promptcache::index
