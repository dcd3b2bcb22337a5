#include "embed/byte_product.hpp"

#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "embed/matrix_product.hpp"  // cpu_engine

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace promptcache::embed {
namespace {

constexpr std::size_t panel = 8;      // outputs of one vector of sums
constexpr std::size_t most_rows = 8;  // that run together: their sums, two vectors of weights and four more fill AVX2

std::size_t blocks_of(std::size_t in) { return (in + byte_product_block - 1) / byte_product_block; }
std::size_t panels_of(std::size_t out) { return (out + panel - 1) / panel; }

#if defined(__x86_64__)

/// One panel of outputs for `Rows` rows; those of the sums are `stride` apart.
template <int Rows>
__attribute__((target("avx2"))) void multiply_panel(const std::uint8_t* x, std::size_t in, std::size_t blocks,
                                                    const std::int8_t* weights, std::int32_t* y, std::size_t stride) {
  __m256i sum[Rows];  // in registers, as long as every loop over it is unrolled
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) sum[r] = _mm256_setzero_si256();
  const __m256i ones = _mm256_set1_epi16(1);
  const std::uint8_t* upper = x + (Rows > 4 ? 4 * in : 0);  // few registers address all rows
  const std::int8_t* const end = weights + blocks * byte_product_block * panel;
  for (; weights != end; weights += byte_product_block * panel, x += byte_product_block, upper += byte_product_block) {
    const __m256i first = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
    const __m256i second = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + 4 * panel));
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const std::uint8_t* row = (r < 4 ? x : upper) + static_cast<std::size_t>(r % 4) * in;
      std::int32_t a, b;
      std::memcpy(&a, row, 4);
      std::memcpy(&b, row + 4, 4);
      const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_set1_epi32(a), first),
                                             _mm256_maddubs_epi16(_mm256_set1_epi32(b), second));
      sum[r] = _mm256_add_epi32(sum[r], _mm256_madd_epi16(pairs, ones));
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < Rows; ++r) _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + r * stride), sum[r]);
}

using MultiplyPanel = void (*)(const std::uint8_t*, std::size_t, std::size_t, const std::int8_t*, std::int32_t*,
                               std::size_t);
constexpr MultiplyPanel multiply_rows[] = {multiply_panel<1>, multiply_panel<2>, multiply_panel<3>, multiply_panel<4>,
                                           multiply_panel<5>, multiply_panel<6>, multiply_panel<7>, multiply_panel<8>};

#endif

}  // namespace

bool byte_product_wanted() {
#if defined(__x86_64__)
  cpu_engine();  // limits oneDNN to the active instruction set
  return dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx2;
#else
  return false;
#endif
}

std::size_t byte_product_size(std::size_t in, std::size_t out) {
  return blocks_of(in) * byte_product_block * panels_of(out) * panel;
}

// A panel after the other; in each, block by block, four inputs of each output and then the other four.
void pack_byte_product(const std::int8_t* weights, std::size_t in, std::size_t out, std::int8_t* packed) {
  for (std::size_t first = 0; first < out; first += panel) {
    for (std::size_t i = 0; i < blocks_of(in) * byte_product_block; i += 4, packed += 4 * panel) {
      for (std::size_t o = 0; o < panel; ++o) {
        std::int8_t* four = packed + 4 * o;
        std::memset(four, 0, 4);
        if (first + o < out && i < in)
          std::memcpy(four, weights + (first + o) * in + i, std::min<std::size_t>(4, in - i));
      }
    }
  }
}

void run_byte_product([[maybe_unused]] const std::uint8_t* x, [[maybe_unused]] std::size_t rows,
                      [[maybe_unused]] std::size_t in, [[maybe_unused]] std::size_t out,
                      [[maybe_unused]] const std::int8_t* packed, [[maybe_unused]] std::int32_t* y) {
#if defined(__x86_64__)
  const std::size_t blocks = blocks_of(in);
  const std::size_t parts = (rows + most_rows - 1) / most_rows;
  for (std::size_t first = 0; first < out; first += panel, packed += panel * blocks * byte_product_block) {
    for (std::size_t part = 0; part < parts; ++part) {  // near-equal: one row alone wants as many weights as eight
      const std::size_t begin = rows * part / parts;
      const std::size_t count = rows * (part + 1) / parts - begin;
      const MultiplyPanel multiply = multiply_rows[count - 1];
      std::int32_t* target = y + begin * out + first;
      if (out - first >= panel) {
        multiply(x + begin * in, in, blocks, packed, target, out);
        continue;
      }
      std::int32_t sums[most_rows * panel];
      multiply(x + begin * in, in, blocks, packed, sums, panel);
      for (std::size_t r = 0; r < count; ++r) std::copy_n(sums + r * panel, out - first, target + r * out);
    }
  }
#else
  std::abort();  // never wanted
#endif
}

}  // namespace promptcache::embed
