#pragma once

// What one core can do at most, measured: the best of many short turns, since a neighbour on the same core takes half.

#include <cstddef>

namespace bench {

/// Multiplications and additions of f32 a second in registers; 0 where the loop is not written for this processor.
double f32_operations_per_second();

/// The same of products of bytes with the instructions of embed/byte_product.cpp.
double byte_operations_per_second();

/// Bytes a second that one thread reads of a block of this size, over and over.
double read_bytes_per_second(std::size_t bytes);

}  // namespace bench
