#include "embed/kernels.hpp"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "embed/kernels.cpp"
#include <hwy/foreach_target.h>  // includes this file once for each target

#include <hwy/contrib/math/math-inl.h>  // Exp
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace promptcache::embed {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Vectors = hn::ScalableTag<float>;
using V = hn::Vec<Vectors>;

// Sum of f(i) over full vectors plus one masked tail. Tails are rare: model widths are multiples of 8.
template <class Body, class Tail>
HWY_INLINE void for_each_vector(std::size_t width, Body body, Tail tail) {
  const std::size_t lanes = hn::Lanes(Vectors());
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) body(i);
  for (; i < width; ++i) tail(i);
}

HWY_INLINE float sum_of(V v) { return hn::GetLane(hn::SumOfLanes(Vectors(), v)); }
HWY_INLINE float max_of(V v) { return hn::GetLane(hn::MaxOfLanes(Vectors(), v)); }

void add_layer_norm_row(float* row, const float* addend, std::size_t width, const LayerNorm& norm) {
  const Vectors d;
  V sums = hn::Zero(d);
  float sum = 0;
  for_each_vector(
      width,
      [&](std::size_t i) HWY_ATTR {
        V v = hn::LoadU(d, row + i);
        if (addend != nullptr) {
          v = hn::Add(v, hn::LoadU(d, addend + i));
          hn::StoreU(v, d, row + i);
        }
        sums = hn::Add(sums, v);
      },
      [&](std::size_t i) HWY_ATTR {
        if (addend != nullptr) row[i] += addend[i];
        sum += row[i];
      });
  const float mean = (sum + sum_of(sums)) / static_cast<float>(width);
  // Two passes: the one-pass form loses digits where the mean is large beside the spread.
  V squares = hn::Zero(d);
  float square = 0;
  const V means = hn::Set(d, mean);
  for_each_vector(
      width,
      [&](std::size_t i) HWY_ATTR {
        const V v = hn::Sub(hn::LoadU(d, row + i), means);
        squares = hn::MulAdd(v, v, squares);
      },
      [&](std::size_t i) HWY_ATTR { square += (row[i] - mean) * (row[i] - mean); });
  const float variance = (square + sum_of(squares)) / static_cast<float>(width);
  const float inverse = 1.0F / std::sqrt(variance + norm.epsilon);
  const V inverses = hn::Set(d, inverse);
  for_each_vector(
      width,
      [&](std::size_t i) HWY_ATTR {
        const V v = hn::Mul(hn::Sub(hn::LoadU(d, row + i), means), inverses);
        hn::StoreU(hn::MulAdd(v, hn::LoadU(d, norm.scale + i), hn::LoadU(d, norm.shift + i)), d, row + i);
      },
      [&](std::size_t i) HWY_ATTR { row[i] = (row[i] - mean) * inverse * norm.scale[i] + norm.shift[i]; });
}

void add_layer_norm(float* rows, const float* addend, std::size_t count, std::size_t width, const LayerNorm& norm) {
  for (std::size_t r = 0; r < count; ++r) {
    add_layer_norm_row(rows + r * width, addend == nullptr ? nullptr : addend + r * width, width, norm);
  }
}

void add_rows(const float* words, const float* positions, float* out, std::size_t width) {
  const Vectors d;
  for_each_vector(
      width,
      [&](std::size_t i)
          HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, words + i), hn::LoadU(d, positions + i)), d, out + i); },
      [&](std::size_t i) HWY_ATTR { out[i] = words[i] + positions[i]; });
}

// Softmax of `width` values whose row is readable and writable up to a whole number of vectors. Leaves the
// exponentials unnormalised, zero beyond `width`, and returns one over their sum.
HWY_INLINE float exponentiate(float* row, std::size_t width, std::size_t padded) {
  const Vectors d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = width; i < padded; ++i) row[i] = -HUGE_VALF;
  V largest = hn::Set(d, -HUGE_VALF);
  for (std::size_t i = 0; i < padded; i += lanes) largest = hn::Max(largest, hn::LoadU(d, row + i));
  const V shift = hn::Set(d, max_of(largest));
  V sums = hn::Zero(d);
  for (std::size_t i = 0; i < padded; i += lanes) {
    const V e = hn::Exp(d, hn::Sub(hn::LoadU(d, row + i), shift));
    hn::StoreU(e, d, row + i);
    sums = hn::Add(sums, e);
  }
  return 1.0F / sum_of(sums);
}

constexpr std::size_t query_rows = 4;  // 4 rows by 2 vectors of accumulators fit 16 registers with room for operands

std::size_t round_up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }

std::size_t attention_scratch(std::size_t length, std::size_t head_size) {
  const std::size_t unit = 2 * hn::Lanes(Vectors());
  return round_up(length, unit) * (head_size + query_rows) + (length + query_rows) * round_up(head_size, unit);
}

// out[r] = sum over k of left[r][k] * right[k], for `Rows` rows and `padded` columns, two vectors at a time.
template <std::size_t Rows>
HWY_INLINE void multiply_block(const float* left, std::size_t left_stride, std::size_t depth, const float* right,
                               std::size_t right_stride, std::size_t padded, float* out, std::size_t out_stride) {
  const Vectors d;
  const std::size_t lanes = hn::Lanes(d);
  const float* left1 = left + (Rows > 1 ? left_stride : 0);
  const float* left2 = left + (Rows > 2 ? 2 * left_stride : 0);
  const float* left3 = left + (Rows > 3 ? 3 * left_stride : 0);
  for (std::size_t j = 0; j < padded; j += 2 * lanes) {
    V a0 = hn::Zero(d), b0 = hn::Zero(d), a1 = hn::Zero(d), b1 = hn::Zero(d);
    V a2 = hn::Zero(d), b2 = hn::Zero(d), a3 = hn::Zero(d), b3 = hn::Zero(d);
    for (std::size_t k = 0; k < depth; ++k) {
      const V first = hn::LoadU(d, right + k * right_stride + j);
      const V second = hn::LoadU(d, right + k * right_stride + j + lanes);
      const V l0 = hn::Set(d, left[k]);
      a0 = hn::MulAdd(l0, first, a0);
      b0 = hn::MulAdd(l0, second, b0);
      if constexpr (Rows > 1) {
        const V l1 = hn::Set(d, left1[k]);
        a1 = hn::MulAdd(l1, first, a1);
        b1 = hn::MulAdd(l1, second, b1);
      }
      if constexpr (Rows > 2) {
        const V l2 = hn::Set(d, left2[k]);
        a2 = hn::MulAdd(l2, first, a2);
        b2 = hn::MulAdd(l2, second, b2);
        const V l3 = hn::Set(d, left3[k]);
        a3 = hn::MulAdd(l3, first, a3);
        b3 = hn::MulAdd(l3, second, b3);
      }
    }
    const auto store = [&](std::size_t r, V a, V b) HWY_ATTR {
      hn::StoreU(a, d, out + r * out_stride + j);
      hn::StoreU(b, d, out + r * out_stride + j + lanes);
    };
    store(0, a0, b0);
    if constexpr (Rows > 1) store(1, a1, b1);
    if constexpr (Rows > 2) {
      store(2, a2, b2);
      store(3, a3, b3);
    }
  }
}

void multiply_rows(std::size_t rows, const float* left, std::size_t left_stride, std::size_t depth, const float* right,
                   std::size_t right_stride, std::size_t padded, float* out, std::size_t out_stride) {
  if (rows == query_rows) {
    multiply_block<4>(left, left_stride, depth, right, right_stride, padded, out, out_stride);
    return;
  }
  std::size_t r = 0;
  for (; r + 2 <= rows; r += 2) {
    multiply_block<2>(left + r * left_stride, left_stride, depth, right, right_stride, padded, out + r * out_stride,
                      out_stride);
  }
  if (r < rows) {
    multiply_block<1>(left + r * left_stride, left_stride, depth, right, right_stride, padded, out + r * out_stride,
                      out_stride);
  }
}

void attend(const float* qkv, std::size_t length, std::size_t head_size, std::size_t row_stride,
            std::size_t part_stride, float* out, std::size_t out_stride, float* scratch) {
  const Vectors d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t padded_length = round_up(length, 2 * lanes);
  const std::size_t padded_head = round_up(head_size, 2 * lanes);
  float* keys = scratch;                                // transposed: [head_size][padded_length]
  float* scores = keys + head_size * padded_length;     // [query_rows][padded_length]
  float* result = scores + query_rows * padded_length;  // [query_rows][padded_head]
  float* packed = result + query_rows * padded_head;    // [length][padded_head], where values cannot be read in place

  for (std::size_t j = 0; j < length; ++j) {
    const float* key = qkv + j * row_stride + part_stride;
    for (std::size_t c = 0; c < head_size; ++c) keys[c * padded_length + j] = key[c];
  }
  for (std::size_t c = 0; c < head_size; ++c) {
    std::fill(keys + c * padded_length + length, keys + (c + 1) * padded_length, 0.0F);
  }
  const float* values = qkv + 2 * part_stride;
  std::size_t value_stride = row_stride;
  if (padded_head != head_size) {
    for (std::size_t j = 0; j < length; ++j) {
      std::copy_n(values + j * row_stride, head_size, packed + j * padded_head);
      std::fill(packed + j * padded_head + head_size, packed + (j + 1) * padded_head, 0.0F);
    }
    values = packed;
    value_stride = padded_head;
  }
  for (std::size_t i = 0; i < length; i += query_rows) {
    const std::size_t rows = std::min(query_rows, length - i);
    multiply_rows(rows, qkv + i * row_stride, row_stride, head_size, keys, padded_length, padded_length, scores,
                  padded_length);
    float inverse[query_rows] = {};
    for (std::size_t r = 0; r < rows; ++r) {
      inverse[r] = exponentiate(scores + r * padded_length, length, round_up(length, lanes));
    }
    multiply_rows(rows, scores, padded_length, length, values, value_stride, padded_head, result, padded_head);
    for (std::size_t r = 0; r < rows; ++r) {
      float* target = out + (i + r) * out_stride;
      const float* source = result + r * padded_head;
      const V factor = hn::Set(d, inverse[r]);
      for_each_vector(
          head_size,
          [&](std::size_t c) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, source + c), factor), d, target + c); },
          [&](std::size_t c) HWY_ATTR { target[c] = source[c] * inverse[r]; });
    }
  }
}

void mean_rows(const float* rows, std::size_t count, std::size_t width, float* out) {
  const Vectors d;
  const float inverse = 1.0F / static_cast<float>(count);
  for_each_vector(
      width,
      [&](std::size_t i) HWY_ATTR {
        V sum = hn::Zero(d);
        for (std::size_t r = 0; r < count; ++r) sum = hn::Add(sum, hn::LoadU(d, rows + r * width + i));
        hn::StoreU(hn::Mul(sum, hn::Set(d, inverse)), d, out + i);
      },
      [&](std::size_t i) HWY_ATTR {
        float sum = 0;
        for (std::size_t r = 0; r < count; ++r) sum += rows[r * width + i];
        out[i] = sum * inverse;
      });
}

void normalize(float* vector, std::size_t width) {
  const Vectors d;
  V squares = hn::Zero(d);
  float square = 0;
  for_each_vector(
      width,
      [&](std::size_t i) HWY_ATTR {
        const V v = hn::LoadU(d, vector + i);
        squares = hn::MulAdd(v, v, squares);
      },
      [&](std::size_t i) HWY_ATTR { square += vector[i] * vector[i]; });
  const float length = std::sqrt(square + sum_of(squares));
  if (length == 0) return;
  const float inverse = 1.0F / length;
  const V factor = hn::Set(d, inverse);
  for_each_vector(
      width, [&](std::size_t i) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(d, vector + i), factor), d, vector + i); },
      [&](std::size_t i) HWY_ATTR { vector[i] *= inverse; });
}

// erf as x P(x^2) / Q(x^2), our own least-squares fit with weights moved towards the largest error: off by 2.4e-6 at
// most, without an exponential. From 3.3 on it is 1 as far as that tells.
HWY_INLINE V erf_of(V z) {
  const Vectors d;
  const V x = hn::Clamp(z, hn::Set(d, -3.3F), hn::Set(d, 3.3F));
  const V square = hn::Mul(x, x);
  V p = hn::MulAdd(square, hn::Set(d, 7.435351e-4F), hn::Set(d, 4.3125756e-2F));
  p = hn::MulAdd(p, square, hn::Set(d, 0.15505077F));
  p = hn::MulAdd(p, square, hn::Set(d, 1.1283704F));
  V q = hn::MulAdd(square, hn::Set(d, 9.2471037e-3F), hn::Set(d, 9.505982e-2F));
  q = hn::MulAdd(q, square, hn::Set(d, 0.47073385F));
  q = hn::MulAdd(q, square, hn::Set(d, 1.0F));
  return hn::Div(hn::Mul(x, p), q);
}

struct Gelu {
  static constexpr float half_root = 0.70710678F;
  V operator()(V x) const {
    const Vectors d;
    const V half = hn::Mul(x, hn::Set(d, 0.5F));
    return hn::MulAdd(half, erf_of(hn::Mul(x, hn::Set(d, half_root))), half);
  }
  float operator()(float x) const { return 0.5F * x * (1 + std::erf(x * half_root)); }
};

struct GeluTanh {
  static constexpr float root = 0.79788456F;  // of 2 / pi
  static constexpr float cube = 0.044715F;
  V operator()(V x) const {
    const Vectors d;
    const V one = hn::Set(d, 1.0F);
    const V inner = hn::Mul(x, hn::MulAdd(hn::Mul(x, x), hn::Set(d, cube), one));
    // 0.5 (1 + tanh(u)) is 1 / (1 + exp(-2u)).
    return hn::Div(x, hn::Add(one, hn::Exp(d, hn::Mul(inner, hn::Set(d, -2 * root)))));
  }
  float operator()(float x) const { return 0.5F * x * (1 + std::tanh(root * (x + cube * x * x * x))); }
};

struct Relu {
  V operator()(V x) const { return hn::Max(x, hn::Zero(Vectors())); }
  float operator()(float x) const { return std::max(x, 0.0F); }
};

// What becomes of the values of a row.
struct Store {
  float* out;
  void operator()(std::size_t i, V v) const { hn::StoreU(v, Vectors(), out + i); }
  void operator()(std::size_t i, float v) const { out[i] = v; }
};
template <class Function>
struct Activated {
  float* out;
  void operator()(std::size_t i, V v) const { hn::StoreU(Function()(v), Vectors(), out + i); }
  void operator()(std::size_t i, float v) const { out[i] = Function()(v); }
};
struct AddTo {
  float* out;
  void operator()(std::size_t i, V v) const {
    hn::StoreU(hn::Add(hn::LoadU(Vectors(), out + i), v), Vectors(), out + i);
  }
  void operator()(std::size_t i, float v) const { out[i] += v; }
};

HWY_INLINE RowCode quantize_row(const float* row, std::size_t width, std::uint8_t* codes) {
  const Vectors d;
  const hn::Rebind<std::int32_t, Vectors> whole;
  const hn::Rebind<std::uint8_t, Vectors> bytes;
  V lowest_of = hn::Zero(d), highest_of = hn::Zero(d);
  float lowest = 0, highest = 0;
  for_each_vector(
      width,
      [&](std::size_t i) HWY_ATTR {
        const V v = hn::LoadU(d, row + i);
        lowest_of = hn::Min(lowest_of, v);
        highest_of = hn::Max(highest_of, v);
      },
      [&](std::size_t i) HWY_ATTR {
        lowest = std::min(lowest, row[i]);
        highest = std::max(highest, row[i]);
      });
  lowest = std::min(lowest, hn::GetLane(hn::MinOfLanes(d, lowest_of)));
  highest = std::max(highest, max_of(highest_of));
  constexpr float steps = 255;
  const float range = highest - lowest;
  const bool empty = !(range > 1e-30F);
  const float factor = empty ? 0 : steps / range;
  const RowCode result{empty ? 0 : range / steps, static_cast<std::int32_t>(std::nearbyint(-lowest * factor))};
  const V factors = hn::Set(d, factor);
  const auto zero = hn::Set(whole, result.zero);
  for_each_vector(
      width,
      [&](std::size_t i) HWY_ATTR {
        const auto code = hn::Add(hn::NearestInt(hn::Mul(hn::LoadU(d, row + i), factors)), zero);
        hn::StoreU(hn::DemoteTo(bytes, code), bytes, codes + i);  // what rounding takes beyond the end stays at it
      },
      [&](std::size_t i) HWY_ATTR {
        const auto code = static_cast<std::int32_t>(std::nearbyint(row[i] * factor)) + result.zero;
        codes[i] = static_cast<std::uint8_t>(std::clamp(code, 0, 255));
      });
  return result;
}

void quantize_rows(const float* rows, std::size_t count, std::size_t width, std::uint8_t* codes, RowCode* row_codes) {
  for (std::size_t r = 0; r < count; ++r) row_codes[r] = quantize_row(rows + r * width, width, codes + r * width);
}

// finish(place, values) for one row of sums, with the values as a vector or, in the tail, as one float.
template <class Finish>
HWY_INLINE void dequantize_row(const Sums& sums, std::size_t row, const Columns& columns, Finish finish) {
  const Vectors d;
  const hn::Rebind<std::int32_t, Vectors> whole;
  const std::int32_t* data = sums.data + row * sums.width;
  const RowCode code = sums.rows[row];
  const V row_scales = hn::Set(d, code.scale);
  const auto row_zeros = hn::Set(whole, code.zero);
  for_each_vector(
      sums.width,
      [&](std::size_t i) HWY_ATTR {
        const auto shift = hn::Mul(hn::LoadU(whole, columns.weight_sum + i), row_zeros);
        const auto sum = hn::Sub(hn::LoadU(whole, data + i), shift);
        const V scale = hn::Mul(hn::LoadU(d, columns.scale + i), row_scales);
        finish(i, hn::MulAdd(hn::ConvertTo(d, sum), scale, hn::LoadU(d, columns.bias + i)));
      },
      [&](std::size_t i) HWY_ATTR {
        const std::int32_t sum = data[i] - columns.weight_sum[i] * code.zero;
        finish(i, static_cast<float>(sum) * (columns.scale[i] * code.scale) + columns.bias[i]);
      });
}

void dequantize(const Sums& sums, const Columns& columns, float* out) {
  for (std::size_t r = 0; r < sums.count; ++r) {
    dequantize_row(sums, r, columns, Store{out + r * sums.width});
  }
}

void activate_quantize(const Sums& sums, const Columns& columns, Activation activation, float* row, std::uint8_t* codes,
                       RowCode* row_codes) {
  for (std::size_t r = 0; r < sums.count; ++r) {
    switch (activation) {
      case Activation::gelu: dequantize_row(sums, r, columns, Activated<Gelu>{row}); break;
      case Activation::gelu_tanh: dequantize_row(sums, r, columns, Activated<GeluTanh>{row}); break;
      case Activation::relu: dequantize_row(sums, r, columns, Activated<Relu>{row}); break;
    }
    row_codes[r] = quantize_row(row, sums.width, codes + r * sums.width);
  }
}

void add_layer_norm_quantize(const Sums& sums, const Columns& columns, const LayerNorm& norm, float* rows,
                             std::uint8_t* codes, RowCode* row_codes) {
  for (std::size_t r = 0; r < sums.count; ++r) {
    float* row = rows + r * sums.width;
    dequantize_row(sums, r, columns, AddTo{row});
    add_layer_norm_row(row, nullptr, sums.width, norm);
    row_codes[r] = quantize_row(row, sums.width, codes + r * sums.width);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace promptcache::embed
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace promptcache::embed {

HWY_EXPORT(add_layer_norm);
HWY_EXPORT(add_rows);
HWY_EXPORT(attention_scratch);
HWY_EXPORT(attend);
HWY_EXPORT(quantize_rows);
HWY_EXPORT(dequantize);
HWY_EXPORT(activate_quantize);
HWY_EXPORT(add_layer_norm_quantize);
HWY_EXPORT(mean_rows);
HWY_EXPORT(normalize);

void add_layer_norm(float* rows, const float* addend, std::size_t count, std::size_t width, const LayerNorm& norm) {
  HWY_DYNAMIC_DISPATCH(add_layer_norm)(rows, addend, count, width, norm);
}

void add_rows(const float* words, const float* positions, float* out, std::size_t width) {
  HWY_DYNAMIC_DISPATCH(add_rows)(words, positions, out, width);
}

std::size_t attention_scratch(std::size_t length, std::size_t head_size) {
  return HWY_DYNAMIC_DISPATCH(attention_scratch)(length, head_size);
}

void attend(const float* qkv, std::size_t length, std::size_t head_size, std::size_t row_stride,
            std::size_t part_stride, float* out, std::size_t out_stride, float* scratch) {
  HWY_DYNAMIC_DISPATCH(attend)(qkv, length, head_size, row_stride, part_stride, out, out_stride, scratch);
}

void quantize_rows(const float* rows, std::size_t count, std::size_t width, std::uint8_t* codes, RowCode* row_codes) {
  HWY_DYNAMIC_DISPATCH(quantize_rows)(rows, count, width, codes, row_codes);
}

void dequantize(const Sums& sums, const Columns& columns, float* out) {
  HWY_DYNAMIC_DISPATCH(dequantize)(sums, columns, out);
}

void activate_quantize(const Sums& sums, const Columns& columns, Activation activation, float* row, std::uint8_t* codes,
                       RowCode* row_codes) {
  HWY_DYNAMIC_DISPATCH(activate_quantize)(sums, columns, activation, row, codes, row_codes);
}

void add_layer_norm_quantize(const Sums& sums, const Columns& columns, const LayerNorm& norm, float* rows,
                             std::uint8_t* codes, RowCode* row_codes) {
  HWY_DYNAMIC_DISPATCH(add_layer_norm_quantize)(sums, columns, norm, rows, codes, row_codes);
}

void mean_rows(const float* rows, std::size_t count, std::size_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(mean_rows)(rows, count, width, out);
}

void normalize(float* vector, std::size_t width) { HWY_DYNAMIC_DISPATCH(normalize)(vector, width); }

}  // namespace promptcache::embed
#endif
