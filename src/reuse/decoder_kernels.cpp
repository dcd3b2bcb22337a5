#include "reuse/decoder_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reuse/aligned.hpp"
#include "reuse/bf16.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "reuse/decoder_kernels.cpp"
#include <hwy/foreach_target.h>  // includes this file once for each target

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace promptcache::reuse {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
// At most a panel wide, so that a panel is a whole number of vectors.
using FloatTag = hn::CappedTag<float, PackedMatrix::panel>;
using HalfTag = hn::Rebind<std::uint16_t, FloatTag>;
using WordTag = hn::Rebind<std::uint32_t, FloatTag>;

HWY_INLINE hn::Vec<FloatTag> load(const float* from) { return hn::LoadU(FloatTag(), from); }
HWY_INLINE hn::Vec<FloatTag> load(const std::uint16_t* from) {  // bf16: the upper half of an f32
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(WordTag(), hn::LoadU(HalfTag(), from))));
}

constexpr std::size_t lanes_of_panel = hn::MaxLanes(FloatTag());
constexpr std::size_t vectors = PackedMatrix::panel / lanes_of_panel;

/// c[rows, panels * 16] (+)= a[rows, count] b[count, panels * 16], all of c in registers meanwhile. `b_panel` leads
/// from one panel of b to the next.
template <std::size_t rows, std::size_t panels, class B>
HWY_INLINE void multiply_tile(const float* a, std::size_t a_step, const B* b, std::size_t b_step, std::size_t b_panel,
                              std::size_t count, float* c, std::size_t c_step, bool add) {
  const FloatTag d;
  constexpr std::size_t wide = panels * vectors;
  hn::Vec<FloatTag> sums[rows][wide];
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t v = 0; v < wide; ++v) {
      sums[row][v] = add ? load(c + row * c_step + v * lanes_of_panel) : hn::Zero(d);
    }
  }
  for (std::size_t k = 0; k < count; ++k) {
    hn::Vec<FloatTag> column[wide];
    for (std::size_t v = 0; v < wide; ++v) {
      column[v] = load(b + k * b_step + v / vectors * b_panel + v % vectors * lanes_of_panel);
    }
    for (std::size_t row = 0; row < rows; ++row) {
      const auto factor = hn::Set(d, a[row * a_step + k]);
      for (std::size_t v = 0; v < wide; ++v) sums[row][v] = hn::MulAdd(factor, column[v], sums[row][v]);
    }
  }
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t v = 0; v < wide; ++v) hn::StoreU(sums[row][v], d, c + row * c_step + v * lanes_of_panel);
  }
}

/// The same for any number of rows and one panel. Each row's sums are made in the same order whatever stands beside it.
template <class B>
HWY_INLINE void multiply_panel(const float* a, std::size_t a_step, std::size_t rows, const B* b, std::size_t b_step,
                               std::size_t count, float* c, std::size_t c_step, bool add) {
  std::size_t row = 0;
  for (; row + 6 <= rows; row += 6) {
    multiply_tile<6, 1>(a + row * a_step, a_step, b, b_step, 0, count, c + row * c_step, c_step, add);
  }
  const float* rest = a + row * a_step;
  float* to = c + row * c_step;
  switch (rows - row) {
    case 5: multiply_tile<5, 1>(rest, a_step, b, b_step, 0, count, to, c_step, add); break;
    case 4: multiply_tile<4, 1>(rest, a_step, b, b_step, 0, count, to, c_step, add); break;
    case 3: multiply_tile<3, 1>(rest, a_step, b, b_step, 0, count, to, c_step, add); break;
    case 2: multiply_tile<2, 1>(rest, a_step, b, b_step, 0, count, to, c_step, add); break;
    case 1: multiply_tile<1, 1>(rest, a_step, b, b_step, 0, count, to, c_step, add); break;
    default: break;
  }
}

template <class Value>
void multiply_panels(const PackedMatrix& w, const float* x, std::size_t rows, std::size_t first, std::size_t last,
                     float* result, std::size_t result_step) {
  constexpr std::size_t panel = PackedMatrix::panel;
  const std::size_t in = w.in();
  const std::size_t whole = w.out() / panel;
  std::size_t at = first;
  if (rows == 1) {  // several panels at once, or the latency of the sums would show
    for (; at + 4 <= std::min(last, whole); at += 4) {
      multiply_tile<1, 4>(x, in, w.data<Value>(at), panel, panel * in, in, result + at * panel, result_step, false);
    }
  }
  for (; at < last; ++at) {
    if (at < whole) {
      multiply_panel(x, in, rows, w.data<Value>(at), panel, in, result + at * panel, result_step, false);
      continue;
    }
    float edge[6 * panel];
    for (std::size_t row = 0; row < rows; row += 6) {
      const std::size_t count = std::min<std::size_t>(6, rows - row);
      multiply_panel(x + row * in, in, count, w.data<Value>(at), panel, in, edge, panel, false);
      for (std::size_t i = 0; i < count; ++i) {
        std::copy_n(edge + i * panel, w.out() - at * panel, result + (row + i) * result_step + at * panel);
      }
    }
  }
}

void multiply_packed(const PackedMatrix& w, const float* x, std::size_t rows, std::size_t first, std::size_t last,
                     float* result, std::size_t result_step) {
  const auto multiply_as = w.type() == WeightType::f32 ? multiply_panels<float> : multiply_panels<std::uint16_t>;
  multiply_as(w, x, rows, first, last, result, result_step);
}

void rotate_by(const RotationTable& table, std::ptrdiff_t distance, const float* from, float* to) {
  const FloatTag d;
  const std::size_t pairs = table.pairs;
  const auto at = static_cast<std::size_t>(distance < 0 ? -distance : distance) * pairs;
  const float* cosines = table.cosines.data() + at;
  const float* sines = table.sines.data() + at;
  const float sign = distance < 0 ? -1.0F : 1.0F;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= pairs; i += lanes) {
    const auto c = load(cosines + i);
    const auto s = hn::Mul(load(sines + i), hn::Set(d, sign));
    const auto x = load(from + i);
    const auto y = load(from + pairs + i);
    hn::StoreU(hn::NegMulAdd(y, s, hn::Mul(x, c)), d, to + i);
    hn::StoreU(hn::MulAdd(x, s, hn::Mul(y, c)), d, to + pairs + i);
  }
  for (; i < pairs; ++i) {
    const float x = from[i], y = from[pairs + i];
    to[i] = x * cosines[i] - y * sign * sines[i];
    to[pairs + i] = y * cosines[i] + x * sign * sines[i];
  }
}

/// Scores of one query with the rows it sees become weights; what it has summed up so far is scaled to their maximum.
/// `scores` has `capacity` places, of which those before `end` count.
void fold_scores(float* scores, std::size_t capacity, std::size_t end, float& largest, float& total, float* sums,
                 std::size_t head_size) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  std::fill(scores + end, scores + capacity, -std::numeric_limits<float>::infinity());
  auto peaks = hn::Set(d, largest);
  for (std::size_t i = 0; i < capacity; i += lanes) peaks = hn::Max(peaks, load(scores + i));
  const float peak = hn::GetLane(hn::MaxOfLanes(d, peaks));
  if (peak > largest) {
    const float factor = std::exp(largest - peak);  // 0 at first
    total *= factor;
    std::size_t i = 0;
    for (; i + lanes <= head_size; i += lanes) hn::StoreU(hn::Mul(load(sums + i), hn::Set(d, factor)), d, sums + i);
    for (; i < head_size; ++i) sums[i] *= factor;
    largest = peak;
  }
  auto sum = hn::Zero(d);
  const auto shift = hn::Set(d, peak);
  for (std::size_t i = 0; i < capacity; i += lanes) {
    const auto weight = hn::Exp(d, hn::Sub(load(scores + i), shift));
    hn::StoreU(weight, d, scores + i);
    sum = hn::Add(sum, weight);
  }
  total += hn::GetLane(hn::SumOfLanes(d, sum));
}

/// Room that one thread needs for a tile of queries; kept from call to call.
struct Scratch {
  std::vector<float> turned, scores, sums, largest, total;
};

template <class Value>
void attend_tile(const AttentionCall& call, std::size_t kv_head, std::size_t first, std::size_t last,
                 Scratch& scratch) {
  const std::size_t size = call.head_size;
  const std::size_t padded = (size + PackedMatrix::panel - 1) / PackedMatrix::panel * PackedMatrix::panel;
  const std::size_t group = call.heads / call.kv_heads;
  const std::size_t rows = (last - first) * group;
  const float scale = 1 / std::sqrt(static_cast<float>(size));
  const auto query = [&](std::size_t row) {
    return call.queries + (first + row / group) * call.query_step + (kv_head * group + row % group) * size;
  };
  scratch.turned.resize(rows * size);
  scratch.scores.resize(rows * KvBlock::most_tokens);
  scratch.sums.assign(rows * padded, 0);
  scratch.largest.assign(rows, -std::numeric_limits<float>::infinity());
  scratch.total.assign(rows, 0);
  for (std::size_t at = 0; at < call.runs.size(); ++at) {
    const AttentionRun& run = call.runs[at];
    const auto seen = [&](std::size_t row) {
      return std::size_t{call.visible[(first + row / group) * call.runs.size() + at]};
    };
    std::size_t most = 0;
    for (std::size_t row = 0; row < rows; row += group) most = std::max(most, seen(row));
    if (most == 0) continue;
    for (std::size_t row = 0; row < rows; ++row) {
      float* turned = scratch.turned.data() + row * size;
      const std::size_t position = call.positions[first + row / group];
      if (call.rotation != nullptr) {
        rotate_by(*call.rotation, static_cast<std::ptrdiff_t>(position) - static_cast<std::ptrdiff_t>(run.position),
                  query(row), turned);
      } else {
        std::copy_n(query(row), size, turned);
      }
      for (std::size_t i = 0; i < size; ++i) turned[i] *= scale;
    }
    const auto* keys = reinterpret_cast<const Value*>(run.block->keys(call.layer, kv_head));
    const auto* values = reinterpret_cast<const Value*>(run.block->values(call.layer, kv_head));
    const std::size_t capacity = run.block->capacity();
    const std::size_t used = (most + PackedMatrix::panel - 1) / PackedMatrix::panel * PackedMatrix::panel;
    for (std::size_t column = 0; column < used; column += PackedMatrix::panel) {
      multiply_panel(scratch.turned.data(), size, rows, keys + column, capacity, size, scratch.scores.data() + column,
                     KvBlock::most_tokens, false);
    }
    for (std::size_t row = 0; row < rows; ++row) {
      float* scores = scratch.scores.data() + row * KvBlock::most_tokens;
      const std::size_t end = seen(row);
      if (end == 0) {
        std::fill(scores, scores + used, 0.0F);
        continue;
      }
      if (!call.slopes.empty()) {
        const float slope = call.slopes[kv_head * group + row % group];
        const auto position = static_cast<float>(call.positions[first + row / group]);
        for (std::size_t i = 0; i < end; ++i) {
          scores[i] -= slope * (position - static_cast<float>(run.position + i));
        }
      }
      fold_scores(scores, used, end, scratch.largest[row], scratch.total[row], scratch.sums.data() + row * padded,
                  size);
    }
    if (size % PackedMatrix::panel == 0) {
      for (std::size_t column = 0; column < size; column += PackedMatrix::panel) {
        multiply_panel(scratch.scores.data(), KvBlock::most_tokens, rows, values + column, size, most,
                       scratch.sums.data() + column, padded, true);
      }
    } else {  // odd sizes, of test models
      for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t k = 0; k < most; ++k) {
          const float weight = scratch.scores[row * KvBlock::most_tokens + k];
          for (std::size_t i = 0; i < size; ++i) {
            const Value value = values[k * size + i];
            float wide = 0;
            if constexpr (sizeof(Value) == sizeof(float)) {
              wide = value;
            } else {
              wide = from_bf16(value);
            }
            scratch.sums[row * padded + i] += weight * wide;
          }
        }
      }
    }
  }
  for (std::size_t row = 0; row < rows; ++row) {
    float* to = call.result + (first + row / group) * call.heads * size + (kv_head * group + row % group) * size;
    const float factor = 1 / scratch.total[row];
    for (std::size_t i = 0; i < size; ++i) to[i] = scratch.sums[row * padded + i] * factor;
  }
}

void attend_tokens(const AttentionCall& call, std::size_t kv_head, std::size_t first, std::size_t last) {
  static thread_local Scratch scratch;
  // Few enough for the tile to stay in the cache beside a block, enough to read each block seldom.
  const std::size_t tile = std::max<std::size_t>(1, 48 / (call.heads / call.kv_heads));
  for (std::size_t at = first; at < last; at += tile) {
    const std::size_t end = std::min(at + tile, last);
    if (call.runs.front().block->shape().type == KvType::f32) {
      attend_tile<float>(call, kv_head, at, end, scratch);
    } else {
      attend_tile<std::uint16_t>(call, kv_head, at, end, scratch);
    }
  }
}

void rms_norm_row(const float* from, const float* weight, std::size_t width, float eps, float* to) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  auto squares = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    const auto x = load(from + i);
    squares = hn::MulAdd(x, x, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < width; ++i) sum += from[i] * from[i];
  const float factor = 1 / std::sqrt(sum / static_cast<float>(width) + eps);
  for (i = 0; i + lanes <= width; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(load(from + i), hn::Set(d, factor)), load(weight + i)), d, to + i);
  }
  for (; i < width; ++i) to[i] = from[i] * factor * weight[i];
}

void gated_silu_of(float* gate, const float* up, std::size_t count) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(d, 1.0F);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto x = load(gate + i);
    const auto silu = hn::Div(x, hn::Add(one, hn::Exp(d, hn::Neg(x))));
    hn::StoreU(hn::Mul(silu, load(up + i)), d, gate + i);
  }
  for (; i < count; ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace promptcache::reuse
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace promptcache::reuse {

HWY_EXPORT(multiply_packed);
HWY_EXPORT(rotate_by);
HWY_EXPORT(attend_tokens);
HWY_EXPORT(rms_norm_row);
HWY_EXPORT(gated_silu_of);

PackedMatrix::PackedMatrix(std::span<const float> values, std::size_t out, std::size_t in, WeightType type)
    : out_(out), in_(in), type_(type) {
  const std::size_t count = panels() * panel * in;
  values_ = aligned_zeros(count * (type == WeightType::f32 ? sizeof(float) : sizeof(std::uint16_t)));
  const auto fill = [&](auto* to, auto convert) {
    for (std::size_t row = 0; row < out; ++row) {
      auto* column = to + row / panel * panel * in + row % panel;
      for (std::size_t i = 0; i < in; ++i) column[i * panel] = convert(values[row * in + i]);
    }
  };
  if (type == WeightType::f32) {
    fill(reinterpret_cast<float*>(values_.get()), [](float value) { return value; });
  } else {
    fill(reinterpret_cast<std::uint16_t*>(values_.get()), to_bf16);
  }
}

void PackedMatrix::row(std::size_t at, float* to) const {
  const auto widen = [&](const auto* from, auto convert) {
    for (std::size_t i = 0; i < in_; ++i) to[i] = convert(from[at % panel + i * panel]);
  };
  if (type_ == WeightType::f32) {
    widen(data<float>(at / panel), [](float value) { return value; });
  } else {
    widen(data<std::uint16_t>(at / panel), from_bf16);
  }
}

void multiply(const PackedMatrix& w, const float* x, std::size_t rows, std::size_t first, std::size_t last,
              float* result, std::size_t result_step) {
  HWY_DYNAMIC_DISPATCH(multiply_packed)(w, x, rows, first, last, result, result_step);
}

RotationTable::RotationTable(std::span<const double> frequencies, std::size_t distances)
    : pairs(frequencies.size()), cosines(pairs * distances), sines(pairs * distances) {
  for (std::size_t distance = 0; distance < distances; ++distance) {
    for (std::size_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(distance) * frequencies[i];
      cosines[distance * pairs + i] = static_cast<float>(std::cos(angle));
      sines[distance * pairs + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void rotate(const RotationTable& table, std::ptrdiff_t distance, const float* from, float* to) {
  HWY_DYNAMIC_DISPATCH(rotate_by)(table, distance, from, to);
}

void attend(const AttentionCall& call, std::size_t kv_head, std::size_t first, std::size_t last) {
  HWY_DYNAMIC_DISPATCH(attend_tokens)(call, kv_head, first, last);
}

void store_row(const RotationTable* rotation, const float* keys, const float* values, KvBlock& block, std::size_t layer,
               std::size_t row) {
  const KvShape& shape = block.shape();
  const std::size_t size = shape.head_size;
  const std::size_t capacity = block.capacity();
  std::vector<float> turned(size);
  for (std::size_t head = 0; head < shape.kv_heads; ++head) {
    const float* key = keys + head * size;
    const float* value = values + head * size;
    if (rotation != nullptr) {
      rotate(*rotation, static_cast<std::ptrdiff_t>(row), key, turned.data());
      key = turned.data();
    }
    if (shape.type == KvType::f32) {
      auto* to = reinterpret_cast<float*>(block.keys(layer, head));
      for (std::size_t i = 0; i < size; ++i) to[i * capacity + row] = key[i];
      std::copy_n(value, size, reinterpret_cast<float*>(block.values(layer, head)) + row * size);
    } else {
      auto* to = reinterpret_cast<std::uint16_t*>(block.keys(layer, head));
      for (std::size_t i = 0; i < size; ++i) to[i * capacity + row] = to_bf16(key[i]);
      std::transform(value, value + size, reinterpret_cast<std::uint16_t*>(block.values(layer, head)) + row * size,
                     to_bf16);
    }
  }
}

void rms_norm(const float* from, const float* weight, std::size_t width, float eps, float* to) {
  HWY_DYNAMIC_DISPATCH(rms_norm_row)(from, weight, width, eps, to);
}

void gated_silu(float* gate, const float* up, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(gated_silu_of)(gate, up, count);
}

}  // namespace promptcache::reuse
#endif  // HWY_ONCE
