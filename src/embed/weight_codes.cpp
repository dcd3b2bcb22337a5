#include "embed/weight_codes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <oneapi/dnnl/dnnl.hpp>

#include "embed/matrix_product.hpp"  // cpu_engine

namespace promptcache::embed {
namespace {

constexpr std::size_t block = byte_product_block;  // the groups are those of the byte product

struct Extent {
  float largest = 0;        // of all magnitudes
  float largest_group = 0;  // of all sums of a group's weights of one sign
};

/// `row` holds whole blocks.
Extent extent_of(const float* row, std::size_t inputs) {
  std::array<float, 4> largest{}, above{}, below{};
  for (std::size_t i = 0; i < inputs; i += block) {
    std::array<float, 4> positive, negative;
    for (std::size_t j = 0; j < 4; ++j) {  // inputs j and 4 + j; neighbours among these sums make a group
      const float a = row[i + j], b = row[i + 4 + j];
      positive[j] = std::max(a, 0.0F) + std::max(b, 0.0F);
      negative[j] = std::min(a, 0.0F) + std::min(b, 0.0F);
      largest[j] = std::max(largest[j], std::max(std::abs(a), std::abs(b)));
    }
    for (std::size_t j = 0; j < 4; ++j) {
      above[j] = std::max(above[j], positive[j] + positive[j ^ 1]);
      below[j] = std::min(below[j], negative[j] + negative[j ^ 1]);
    }
  }
  const auto greatest = [](const std::array<float, 4>& of) { return *std::max_element(of.begin(), of.end()); };
  return {greatest(largest), std::max(greatest(above), -*std::min_element(below.begin(), below.end()))};
}

Extent joined(const Extent& a, const Extent& b) {
  return {std::max(a.largest, b.largest), std::max(a.largest_group, b.largest_group)};
}

}  // namespace

int largest_int8_group() {
  cpu_engine();  // limits oneDNN to the active instruction set
#if defined(__x86_64__) || defined(__i386__)
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  for (const dnnl::cpu_isa inexact :
       {dnnl::cpu_isa::sse41, dnnl::cpu_isa::avx, dnnl::cpu_isa::avx2, dnnl::cpu_isa::avx512_core}) {
    if (isa == inexact) return 128;
  }
#endif
  return 4 * 127;
}

void code_weights(std::span<const float> weights, int largest_group, std::span<std::int8_t> codes,
                  WeightScales scales) {
  const std::size_t outputs = scales.scale.size();
  const std::size_t inputs = weights.size() / outputs;
  const std::size_t whole = inputs / block * block;
  // Rounding makes the sum of four weights larger by 2 at most.
  const float most_group = static_cast<float>(largest_group) - 1.5F;
  for (std::size_t output = 0; output < outputs; ++output) {
    const float* row = &weights[output * inputs];
    std::array<float, block> rest{};
    std::copy(row + whole, row + inputs, rest.begin());
    const Extent extent = joined(extent_of(row, whole), extent_of(rest.data(), block));
    const float scale = std::max(extent.largest / 127, extent.largest_group / most_group);
    const float factor = scale > 1e-30F ? 1 / scale : 0;
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < inputs; ++i) {
      const auto code = static_cast<std::int8_t>(std::lrintf(row[i] * factor));
      codes[output * inputs + i] = code;
      sum += code;
    }
    scales.weight_sum[output] = sum;
    scales.scale[output] = scale;
  }
}

}  // namespace promptcache::embed
