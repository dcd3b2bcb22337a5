#pragma once

#include <cstddef>

namespace promptcache::index {

/// Inner products of each of `a_count` rows with each of `b_count`, rows of `width` floats one behind the other:
/// out[i * stride + j] is that of rows i and j. On one instruction set the same two vectors give the same bits wherever
/// their rows stand, whichever of them comes first and however many others there are (not those of `dot`), so that a
/// blocked search has no seams. 12 products run together, from registers.
void dot_tile(const float* a, std::size_t a_count, const float* b, std::size_t b_count, std::size_t width, float* out,
              std::size_t stride);

}  // namespace promptcache::index
