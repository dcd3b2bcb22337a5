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

/// The same for any number of rows and `count_of_panels` panels. Each row's sums are made in the same order whatever
/// stands beside it.
template <class B>
HWY_INLINE void multiply_panels(const float* a, std::size_t a_step, std::size_t rows, const B* b, std::size_t b_step,
                                std::size_t b_panel, std::size_t count_of_panels, std::size_t count, float* c,
                                std::size_t c_step, bool add) {
  constexpr std::size_t width = PackedMatrix::panel;
  std::size_t at = 0;
  // Few rows take several panels at once, or the latency of the sums would show.
  if (rows == 1) {
    for (; at + 4 <= count_of_panels; at += 4) {
      multiply_tile<1, 4>(a, a_step, b + at * b_panel, b_step, b_panel, count, c + at * width, c_step, add);
    }
  } else if (rows == 2 || rows == 3) {
    for (; at + 2 <= count_of_panels; at += 2) {
      const auto multiply_few = rows == 2 ? multiply_tile<2, 2, B> : multiply_tile<3, 2, B>;
      multiply_few(a, a_step, b + at * b_panel, b_step, b_panel, count, c + at * width, c_step, add);
    }
  }
  for (; at < count_of_panels; ++at) {
    const B* panel = b + at * b_panel;
    float* to = c + at * width;
    std::size_t row = 0;
    for (; row + 6 <= rows; row += 6) {
      multiply_tile<6, 1>(a + row * a_step, a_step, panel, b_step, 0, count, to + row * c_step, c_step, add);
    }
    const float* rest = a + row * a_step;
    to += row * c_step;
    switch (rows - row) {
      case 5: multiply_tile<5, 1>(rest, a_step, panel, b_step, 0, count, to, c_step, add); break;
      case 4: multiply_tile<4, 1>(rest, a_step, panel, b_step, 0, count, to, c_step, add); break;
      case 3: multiply_tile<3, 1>(rest, a_step, panel, b_step, 0, count, to, c_step, add); break;
      case 2: multiply_tile<2, 1>(rest, a_step, panel, b_step, 0, count, to, c_step, add); break;
      case 1: multiply_tile<1, 1>(rest, a_step, panel, b_step, 0, count, to, c_step, add); break;
      default: break;
    }
  }
}

template <class Value>
void multiply_matrix(const PackedMatrix& w, const float* x, std::size_t rows, std::size_t first, std::size_t last,
                     float* result, std::size_t result_step) {
  constexpr std::size_t panel = PackedMatrix::panel;
  const std::size_t in = w.in();
  const std::size_t whole = std::clamp(w.out() / panel, first, last);
  multiply_panels(x, in, rows, w.data<Value>(first), panel, panel * in, whole - first, in, result + first * panel,
                  result_step, false);
  if (whole == last) return;
  float edge[6 * panel];
  for (std::size_t row = 0; row < rows; row += 6) {
    const std::size_t count = std::min<std::size_t>(6, rows - row);
    multiply_panels(x + row * in, in, count, w.data<Value>(whole), panel, 0, 1, in, edge, panel, false);
    for (std::size_t i = 0; i < count; ++i) {
      std::copy_n(edge + i * panel, w.out() - whole * panel, result + (row + i) * result_step + whole * panel);
    }
  }
}

void multiply_packed(const PackedMatrix& w, const float* x, std::size_t rows, std::size_t first, std::size_t last,
                     float* result, std::size_t result_step) {
  const auto multiply_as = w.type() == WeightType::f32 ? multiply_matrix<float> : multiply_matrix<std::uint16_t>;
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

/// 2 to the power of x <= 0; 0 below -126.
HWY_INLINE hn::Vec<FloatTag> power_of_two(hn::Vec<FloatTag> x) {
  const FloatTag d;
  const auto rounding = hn::Set(d, 12582912.0F);  // 1.5 * 2^23: adding it rounds, and the lowest bits count
  const auto shifted = hn::Add(x, rounding);
  const auto rest = hn::Sub(x, hn::Sub(shifted, rounding));  // within a half
  auto sum = hn::Set(d, 1.5403530e-4F);                      // ln(2)^k / k!
  sum = hn::MulAdd(sum, rest, hn::Set(d, 1.3333558e-3F));
  sum = hn::MulAdd(sum, rest, hn::Set(d, 9.6181291e-3F));
  sum = hn::MulAdd(sum, rest, hn::Set(d, 5.5504109e-2F));
  sum = hn::MulAdd(sum, rest, hn::Set(d, 2.4022651e-1F));
  sum = hn::MulAdd(sum, rest, hn::Set(d, 6.9314718e-1F));
  sum = hn::MulAdd(sum, rest, hn::Set(d, 1.0F));
  const WordTag words;
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::BitCast(words, shifted), hn::Set(words, 127)));
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -126.0F)), hn::Mul(sum, hn::BitCast(d, exponent)));
}

/// Scores of one query with the rows it sees become weights, e to the power of `scale` times the score; what it has
/// summed up so far is scaled to their maximum. `scores` has `capacity` places, of which those before `end` count.
HWY_INLINE void fold_scores(float* scores, std::size_t capacity, std::size_t end, float scale, float& largest,
                            float& total, float* sums, std::size_t head_size) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  if (end < capacity) std::fill(scores + end, scores + capacity, -std::numeric_limits<float>::infinity());
  auto peaks = hn::Set(d, largest);
  for (std::size_t i = 0; i < capacity; i += lanes) peaks = hn::Max(peaks, load(scores + i));
  const float peak = hn::GetLane(hn::MaxOfLanes(d, peaks));
  const float base_two = scale * 1.44269504F;
  if (peak > largest) {
    const float factor = std::exp2((largest - peak) * base_two);  // 0 at first
    total *= factor;
    std::size_t i = 0;
    for (; i + lanes <= head_size; i += lanes) hn::StoreU(hn::Mul(load(sums + i), hn::Set(d, factor)), d, sums + i);
    for (; i < head_size; ++i) sums[i] *= factor;
    largest = peak;
  }
  auto sum = hn::Zero(d);
  const auto shift = hn::Set(d, peak), factor = hn::Set(d, base_two);
  for (std::size_t i = 0; i < capacity; i += lanes) {
    const auto weight = power_of_two(hn::Mul(hn::Sub(load(scores + i), shift), factor));
    hn::StoreU(weight, d, scores + i);
    sum = hn::Add(sum, weight);
  }
  total += hn::GetLane(hn::SumOfLanes(d, sum));
}

/// Room that one thread needs for a tile of queries; kept from call to call.
struct Scratch {
  std::vector<float> turned, scores, sums, largest, total;
};

/// Attention of some tokens in all heads that share one head of keys and values. A row is one head of one token.
template <class Value>
class AttentionTile {
 public:
  AttentionTile(const AttentionCall& call, std::size_t kv_head, std::size_t first, std::size_t last, Scratch& scratch)
      : call_(call),
        kv_head_(kv_head),
        first_(first),
        last_(last),
        group_(call.heads / call.kv_heads),
        size_(call.head_size),
        padded_((size_ + panel - 1) / panel * panel),
        scratch_(scratch) {
    const std::size_t rows = (last - first) * group_;
    scratch.turned.resize(slab() * group_ * size_);
    scratch.scores.resize(slab() * group_ * KvBlock::most_tokens);
    scratch.sums.assign(rows * padded_, 0);
    scratch.largest.assign(rows, -std::numeric_limits<float>::infinity());
    scratch.total.assign(rows, 0);
  }

  void run() {
    for (std::size_t at = 0; at < call_.runs.size(); ++at) {
      for (std::size_t token = first_; token < last_; token += slab()) {
        see(at, token, std::min(token + slab(), last_));
      }
    }
    for (std::size_t token = first_; token < last_; ++token) {
      for (std::size_t head = 0; head < group_; ++head) {
        const std::size_t row = (token - first_) * group_ + head;
        float* to = call_.result + (token * call_.heads + kv_head_ * group_ + head) * size_;
        const float factor = 1 / scratch_.total[row];
        for (std::size_t i = 0; i < size_; ++i) to[i] = scratch_.sums[row * padded_ + i] * factor;
      }
    }
  }

 private:
  static constexpr std::size_t panel = PackedMatrix::panel;

  /// Tokens at a time: queries, scores and sums of about 24 rows stay in the first cache beside keys or values.
  std::size_t slab() const { return std::max<std::size_t>(1, 24 / group_); }

  /// Adds what the tokens see of one run.
  void see(std::size_t at, std::size_t first, std::size_t last) {
    const AttentionRun& run = call_.runs[at];
    while (first < last && seen(first, at) == 0) ++first;  // of another sequence, perhaps
    while (first < last && seen(last - 1, at) == 0) --last;
    if (first == last) return;
    std::size_t most = 0;
    for (std::size_t token = first; token < last; ++token) most = std::max(most, seen(token, at));
    for (std::size_t token = first; token < last; ++token) {
      const float* query = call_.queries + token * call_.query_step + kv_head_ * group_ * size_;
      float* turned = scratch_.turned.data() + (token - first) * group_ * size_;
      if (call_.rotation == nullptr) {
        std::copy_n(query, group_ * size_, turned);
        continue;
      }
      const auto distance =
          static_cast<std::ptrdiff_t>(call_.positions[token]) - static_cast<std::ptrdiff_t>(run.position);
      for (std::size_t head = 0; head < group_; ++head) {
        rotate_by(*call_.rotation, distance, query + head * size_, turned + head * size_);
      }
    }
    const std::size_t rows = (last - first) * group_;
    const std::size_t used = (most + panel - 1) / panel * panel;
    multiply_panels(scratch_.turned.data(), size_, rows, rows_of(run.block->keys(call_.layer, kv_head_)),
                    run.block->capacity(), panel, used / panel, size_, scratch_.scores.data(), KvBlock::most_tokens,
                    false);
    const float scale = 1 / std::sqrt(static_cast<float>(size_));
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t token = first + row / group_;
      const std::size_t end = seen(token, at);
      float* scores = scratch_.scores.data() + row * KvBlock::most_tokens;
      if (end == 0) {
        std::fill(scores, scores + used, 0.0F);
        continue;
      }
      if (!call_.slopes.empty()) {
        const float slope = call_.slopes[kv_head_ * group_ + row % group_] / scale;
        const auto position = static_cast<float>(call_.positions[token]);
        for (std::size_t i = 0; i < end; ++i) {
          scores[i] -= slope * (position - static_cast<float>(run.position + i));
        }
      }
      const std::size_t of_tile = (first - first_) * group_ + row;
      fold_scores(scores, used, end, scale, scratch_.largest[of_tile], scratch_.total[of_tile],
                  scratch_.sums.data() + of_tile * padded_, size_);
    }
    add_values(rows_of(run.block->values(call_.layer, kv_head_)), rows, most,
               scratch_.sums.data() + (first - first_) * group_ * padded_);
  }

  void add_values(const Value* values, std::size_t rows, std::size_t count, float* sums) const {
    if (size_ % panel == 0) {
      multiply_panels(scratch_.scores.data(), KvBlock::most_tokens, rows, values, size_, panel, size_ / panel, count,
                      sums, padded_, true);
      return;
    }
    for (std::size_t row = 0; row < rows; ++row) {  // odd sizes, of test models
      for (std::size_t k = 0; k < count; ++k) {
        const float weight = scratch_.scores[row * KvBlock::most_tokens + k];
        for (std::size_t i = 0; i < size_; ++i) {
          const Value value = values[k * size_ + i];
          float wide = 0;
          if constexpr (sizeof(Value) == sizeof(float)) {
            wide = value;
          } else {
            wide = from_bf16(value);
          }
          sums[row * padded_ + i] += weight * wide;
        }
      }
    }
  }

  static const Value* rows_of(const std::byte* from) { return reinterpret_cast<const Value*>(from); }

  std::size_t seen(std::size_t token, std::size_t at) const { return call_.visible[token * call_.runs.size() + at]; }

  const AttentionCall& call_;
  const std::size_t kv_head_, first_, last_, group_, size_, padded_;
  Scratch& scratch_;
};

void attend_tokens(const AttentionCall& call, std::size_t kv_head, std::size_t first, std::size_t last) {
  static thread_local Scratch scratch;
  // So many rows that each block is read seldom, so few that what is known of them stays in the second cache.
  const std::size_t tile = std::max<std::size_t>(1, 144 / (call.heads / call.kv_heads));
  for (std::size_t at = first; at < last; at += tile) {
    const std::size_t end = std::min(at + tile, last);
    if (call.runs.front().block->shape().type == KvType::f32) {
      AttentionTile<float>(call, kv_head, at, end, scratch).run();
    } else {
      AttentionTile<std::uint16_t>(call, kv_head, at, end, scratch).run();
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
