#pragma once

// A product of bytes for processors with AVX2 and without VNNI. oneDNN's kernel adds two products in 16 bits before it
// widens; this one adds four, which the limits of the weights allow (`largest_int8_group`), and so needs 5 instructions
// for 64 products instead of 6.

#include <cstddef>
#include <cstdint>

namespace promptcache::embed {

/// Whether it is the way to multiply bytes here: the active instruction set is AVX2, and oneDNN knows of nothing
/// better.
bool byte_product_wanted();

/// Inputs are taken in blocks of so many; of the last row the kernel reads, and ignores, what a block lacks.
constexpr std::size_t byte_product_block = 8;

/// Bytes of packed weights of one shape.
std::size_t byte_product_size(std::size_t in, std::size_t out);

/// Packs row-major `weights` [out, in] to `packed`, on a boundary of 32 bytes.
void pack_byte_product(const std::int8_t* weights, std::size_t in, std::size_t out, std::int8_t* packed);

/// y = x W^T for `rows` rows [in] of x, y row-major [rows, out]. Allocates nothing.
void run_byte_product(const std::uint8_t* x, std::size_t rows, std::size_t in, std::size_t out,
                      const std::int8_t* packed, std::int32_t* y);

}  // namespace promptcache::embed
