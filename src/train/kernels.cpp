#include "train/kernels.hpp"

#include <cmath>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/kernels.cpp"
#include <hwy/foreach_target.h>  // includes this file once for each target

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace promptcache::train {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;

float dot(const float* a, const float* b, std::size_t count) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d);
  auto s1 = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// out = sum over j of weights[j * weight_step] * rows[j * row_step ...]; the sum stays in registers.
void weighted_sum(const float* weights, std::size_t weight_step, const float* rows, std::size_t row_step,
                  std::size_t count, std::size_t width, float* out) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    auto s0 = hn::Zero(d);
    auto s1 = hn::Zero(d);
    auto s2 = hn::Zero(d);
    auto s3 = hn::Zero(d);
    for (std::size_t j = 0; j < count; ++j) {
      const auto weight = hn::Set(d, weights[j * weight_step]);
      const float* row = rows + j * row_step + i;
      s0 = hn::MulAdd(weight, hn::LoadU(d, row), s0);
      s1 = hn::MulAdd(weight, hn::LoadU(d, row + lanes), s1);
      s2 = hn::MulAdd(weight, hn::LoadU(d, row + 2 * lanes), s2);
      s3 = hn::MulAdd(weight, hn::LoadU(d, row + 3 * lanes), s3);
    }
    hn::StoreU(s0, d, out + i);
    hn::StoreU(s1, d, out + i + lanes);
    hn::StoreU(s2, d, out + i + 2 * lanes);
    hn::StoreU(s3, d, out + i + 3 * lanes);
  }
  for (; i + lanes <= width; i += lanes) {
    auto sum = hn::Zero(d);
    for (std::size_t j = 0; j < count; ++j) {
      sum = hn::MulAdd(hn::Set(d, weights[j * weight_step]), hn::LoadU(d, rows + j * row_step + i), sum);
    }
    hn::StoreU(sum, d, out + i);
  }
  for (; i < width; ++i) {
    float sum = 0;
    for (std::size_t j = 0; j < count; ++j) sum += weights[j * weight_step] * rows[j * row_step + i];
    out[i] = sum;
  }
}

void softmax_in_place(float* values, std::size_t count) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  float largest = values[0];
  for (std::size_t i = 1; i < count; ++i) largest = values[i] > largest ? values[i] : largest;
  const auto shift = hn::Set(d, largest);
  auto sums = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto value = hn::Exp(d, hn::Sub(hn::LoadU(d, values + i), shift));
    hn::StoreU(value, d, values + i);
    sums = hn::Add(sums, value);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < count; ++i) {
    values[i] = std::exp(values[i] - largest);
    sum += values[i];
  }
  const float factor = 1 / sum;
  for (i = 0; i < count; ++i) values[i] *= factor;
}

// A hash of place and seed (two rounds of multiplication and shifts, as in the finalisers of integer hash functions).
std::uint32_t hash_of(std::uint32_t place, std::uint32_t key0, std::uint32_t key1) {
  std::uint32_t x = place ^ key0;
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= key1;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

void dropout(const float* in, std::size_t count, float rate, std::uint64_t seed, float* out) {
  const auto key0 = static_cast<std::uint32_t>(seed * 0x9E3779B97F4A7C15ULL >> 32);
  const auto key1 = static_cast<std::uint32_t>(seed * 0xD1B54A32D192ED03ULL >> 32);
  const auto limit = static_cast<std::uint32_t>(static_cast<double>(rate) * 4294967296.0);
  const float scale = 1 / (1 - rate);
  const FloatTag df;
  const hn::Rebind<std::uint32_t, FloatTag> du;
  const auto bound = hn::Set(du, limit);
  const std::size_t lanes = hn::Lanes(df);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    auto x = hn::Xor(hn::Iota(du, static_cast<std::uint32_t>(i)), hn::Set(du, key0));
    x = hn::Xor(x, hn::ShiftRight<16>(x));
    x = hn::Mul(x, hn::Set(du, 0x7feb352dU));
    x = hn::Xor(x, hn::Set(du, key1));
    x = hn::Xor(x, hn::ShiftRight<15>(x));
    x = hn::Mul(x, hn::Set(du, 0x846ca68bU));
    x = hn::Xor(x, hn::ShiftRight<16>(x));
    const auto keep = hn::RebindMask(df, hn::Eq(hn::Min(x, bound), bound));  // x >= bound; Highway 1.0.3 lacks it
    hn::StoreU(hn::IfThenElseZero(keep, hn::Mul(hn::LoadU(df, in + i), hn::Set(df, scale))), df, out + i);
  }
  for (; i < count; ++i) {
    out[i] = hash_of(static_cast<std::uint32_t>(i), key0, key1) >= limit ? in[i] * scale : 0;
  }
}

/// Visits every text and head: first token, length, offset of the head in a row, offset of its probabilities.
template <class Body>
void for_each_head(const AttentionShape& shape, Body body) {
  std::size_t token = 0;
  std::size_t place = 0;
  for (const std::int64_t length : shape.lengths) {
    const auto n = static_cast<std::size_t>(length);
    for (std::size_t head = 0; head < shape.heads; ++head) {
      body(token * shape.width() + head * shape.head_size, n, place);
      place += n * n;
    }
    token += n;
  }
}

void attention_forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                       float* probabilities, float* context) {
  const std::size_t size = shape.head_size;
  const std::size_t width = shape.width();
  const float scale = 1 / std::sqrt(static_cast<float>(size));
  std::vector<float> dropped;
  for_each_head(shape, [&](std::size_t at, std::size_t n, std::size_t place) {
    float* p = probabilities + place;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) p[i * n + j] = scale * dot(q + at + i * width, k + at + j * width, size);
      softmax_in_place(p + i * n, n);
    }
    const float* weights = p;
    if (shape.dropout > 0) {
      dropped.resize(n * n);
      dropout(p, n * n, shape.dropout, shape.seed + place, dropped.data());
      weights = dropped.data();
    }
    for (std::size_t i = 0; i < n; ++i) {
      weighted_sum(weights + i * n, 1, v + at, width, n, size, context + at + i * width);
    }
  });
}

void attention_backward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                        const float* probabilities, const float* d_context, float* dq, float* dk, float* dv) {
  const std::size_t size = shape.head_size;
  const std::size_t width = shape.width();
  const float scale = 1 / std::sqrt(static_cast<float>(size));
  std::vector<float> dropped;
  std::vector<float> slope;
  for_each_head(shape, [&](std::size_t at, std::size_t n, std::size_t place) {
    const float* p = probabilities + place;
    slope.resize(n * n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        slope[i * n + j] = dot(d_context + at + i * width, v + at + j * width, size);
      }
    }
    const float* weights = p;
    if (shape.dropout > 0) {
      dropped.resize(n * n);
      dropout(p, n * n, shape.dropout, shape.seed + place, dropped.data());
      dropout(slope.data(), n * n, shape.dropout, shape.seed + place, slope.data());
      weights = dropped.data();
    }
    for (std::size_t i = 0; i < n; ++i) {
      const float mean = dot(slope.data() + i * n, p + i * n, n);
      for (std::size_t j = 0; j < n; ++j) slope[i * n + j] = scale * p[i * n + j] * (slope[i * n + j] - mean);
    }
    for (std::size_t i = 0; i < n; ++i) {
      weighted_sum(slope.data() + i * n, 1, k + at, width, n, size, dq + at + i * width);
      weighted_sum(slope.data() + i, n, q + at, width, n, size, dk + at + i * width);
      weighted_sum(weights + i, n, d_context + at, width, n, size, dv + at + i * width);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace promptcache::train
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "promptcache/base/isa.hpp"

namespace promptcache::train {

HWY_EXPORT(attention_forward);
HWY_EXPORT(attention_backward);
HWY_EXPORT(dropout);

std::size_t AttentionShape::probabilities() const {
  std::size_t sum = 0;
  for (const std::int64_t length : lengths) sum += static_cast<std::size_t>(length * length);
  return sum * heads;
}

void attention_forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                       float* probabilities, float* context) {
  active_isa();  // applies PROMPTCACHE_ISA before the first dispatch
  HWY_DYNAMIC_DISPATCH(attention_forward)(shape, q, k, v, probabilities, context);
}

void attention_backward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                        const float* probabilities, const float* d_context, float* dq, float* dk, float* dv) {
  active_isa();
  HWY_DYNAMIC_DISPATCH(attention_backward)(shape, q, k, v, probabilities, d_context, dq, dk, dv);
}

void dropout(const float* in, std::size_t count, float rate, std::uint64_t seed, float* out) {
  active_isa();
  HWY_DYNAMIC_DISPATCH(dropout)(in, count, rate, seed, out);
}

}  // namespace promptcache::train

#endif  // HWY_ONCE
