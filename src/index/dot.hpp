#pragma once

#include <cstddef>

namespace promptcache::index {

/// Inner product of two vectors of `width` floats. Sums are taken lane by lane, so results differ between instruction
/// sets in the last bits; on one set every function here gives the same bits for the same two vectors.
using DotFunction = float (*)(const float* a, const float* b, std::size_t width);

/// The inner product of the active instruction set, for callers that ask millions of times.
DotFunction active_dot();

/// Inner products of `query` with `count` rows of `width` floats, written to `out`.
void dot_rows(const float* query, const float* rows, std::size_t count, std::size_t width, float* out);

}  // namespace promptcache::index
