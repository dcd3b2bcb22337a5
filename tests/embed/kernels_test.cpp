#include "embed/kernels.hpp"

#include <cmath>
#include <random>
#include <vector>

#include "promptcache/base/isa.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;

std::vector<float> random_floats(std::size_t count, unsigned seed, float spread = 1.0F, float middle = 0.0F) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> distribution(middle, spread);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(engine);
  return values;
}

void require_close(const std::vector<float>& got, const std::vector<double>& wanted, double tolerance) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(std::abs(got[i] - wanted[i]) <= tolerance)) {
      CAPTURE(i, got[i], wanted[i]);
      FAIL("too far from the oracle");
    }
  }
}

// Runs `body` on every instruction set of this machine.
template <class Body>
void on_every_isa(Body body) {
  REQUIRE_FALSE(available_isas().empty());
  for (const std::string& isa : available_isas()) {
    CAPTURE(isa);
    const ScopedIsa scope(isa);
    body();
  }
}

const std::vector<std::size_t> widths = {1, 3, 7, 8, 9, 16, 31, 32, 100, 384, 387};

}  // namespace

TEST_CASE("layer norm equals its definition in double precision") {
  on_every_isa([] {
    for (const std::size_t width : widths) {
      for (const bool with_addend : {false, true}) {
        CAPTURE(width, with_addend);
        const std::size_t count = 3;
        // A mean far from zero shows a variance that cancels.
        std::vector<float> rows = random_floats(count * width, 1, 0.5F, 30.0F);
        const std::vector<float> addend = random_floats(count * width, 2);
        const std::vector<float> scale = random_floats(width, 3), shift = random_floats(width, 4);
        const float epsilon = 1e-5F;
        std::vector<double> wanted;
        for (std::size_t r = 0; r < count; ++r) {
          std::vector<double> row(width);
          double mean = 0, variance = 0;
          for (std::size_t i = 0; i < width; ++i) {
            row[i] = rows[r * width + i] + (with_addend ? addend[r * width + i] : 0.0F);
            mean += row[i] / static_cast<double>(width);
          }
          for (const double x : row) variance += (x - mean) * (x - mean) / static_cast<double>(width);
          for (std::size_t i = 0; i < width; ++i) {
            wanted.push_back((row[i] - mean) / std::sqrt(variance + epsilon) * scale[i] + shift[i]);
          }
        }
        embed::add_layer_norm(rows.data(), with_addend ? addend.data() : nullptr, count, width,
                              {scale.data(), shift.data(), epsilon});
        require_close(rows, wanted, 2e-4);
      }
    }
  });
}

TEST_CASE("attention equals its definition in double precision") {
  struct Shape {
    std::size_t length, head_size, heads;
  };
  on_every_isa([] {
    for (const Shape shape : {Shape{1, 32, 2}, Shape{2, 8, 2}, Shape{5, 12, 3}, Shape{8, 32, 2}, Shape{9, 64, 1},
                              Shape{17, 5, 2}, Shape{31, 48, 1}, Shape{130, 32, 1}}) {
      CAPTURE(shape.length, shape.head_size, shape.heads);
      const std::size_t width = shape.heads * shape.head_size;
      const std::vector<float> qkv = random_floats(shape.length * 3 * width, 5);
      std::vector<double> wanted(shape.length * width);
      for (std::size_t h = 0; h < shape.heads; ++h) {
        for (std::size_t i = 0; i < shape.length; ++i) {
          std::vector<double> weights(shape.length);
          double sum = 0;
          for (std::size_t j = 0; j < shape.length; ++j) {
            double score = 0;
            for (std::size_t c = 0; c < shape.head_size; ++c) {
              score += static_cast<double>(qkv[i * 3 * width + h * shape.head_size + c]) *
                       qkv[j * 3 * width + width + h * shape.head_size + c];
            }
            weights[j] = std::exp(score);
            sum += weights[j];
          }
          for (std::size_t j = 0; j < shape.length; ++j) {
            for (std::size_t c = 0; c < shape.head_size; ++c) {
              wanted[i * width + h * shape.head_size + c] +=
                  weights[j] / sum * qkv[j * 3 * width + 2 * width + h * shape.head_size + c];
            }
          }
        }
      }
      std::vector<float> got(wanted.size(), -1);
      // Exactly as much scratch as asked for, full of NaN: neither may be read before it is written.
      std::vector<float> scratch(embed::attention_scratch(shape.length, shape.head_size), std::nanf(""));
      for (std::size_t h = 0; h < shape.heads; ++h) {
        embed::attend(qkv.data() + h * shape.head_size, shape.length, shape.head_size, 3 * width, width,
                      got.data() + h * shape.head_size, width, scratch.data());
      }
      require_close(got, wanted, 2e-5);
    }
  });
}

TEST_CASE("attention survives scores that overflow exp") {
  on_every_isa([] {
    const std::size_t length = 6, head_size = 8;
    std::vector<float> qkv(length * 3 * head_size);
    for (std::size_t i = 0; i < length; ++i) {
      for (std::size_t c = 0; c < head_size; ++c) {
        qkv[i * 24 + c] = 100;
        qkv[i * 24 + 8 + c] = i == 4 ? 100.0F : -100.0F;
        qkv[i * 24 + 16 + c] = static_cast<float>(i);
      }
    }
    std::vector<float> got(length * head_size);
    std::vector<float> scratch(embed::attention_scratch(length, head_size));
    embed::attend(qkv.data(), length, head_size, 24, 8, got.data(), 8, scratch.data());
    require_close(got, std::vector<double>(got.size(), 4.0), 1e-6);
  });
}

TEST_CASE("sums, means and lengths of rows equal their definitions") {
  on_every_isa([] {
    for (const std::size_t width : widths) {
      CAPTURE(width);
      const std::size_t count = 5;
      const std::vector<float> rows = random_floats(count * width, 6);
      std::vector<double> wanted(width);
      for (std::size_t i = 0; i < count * width; ++i) wanted[i % width] += rows[i] / static_cast<double>(count);
      std::vector<float> mean(width);
      embed::mean_rows(rows.data(), count, width, mean.data());
      require_close(mean, wanted, 1e-6);

      std::vector<float> sum(width);
      embed::add_rows(rows.data(), rows.data() + width, sum.data(), width);
      for (std::size_t i = 0; i < width; ++i) wanted[i] = static_cast<double>(rows[i]) + rows[width + i];
      require_close(sum, wanted, 1e-6);

      std::vector<float> unit(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(width));
      double square = 0;
      for (const float x : unit) square += static_cast<double>(x) * x;
      for (std::size_t i = 0; i < width; ++i) wanted[i] = unit[i] / std::sqrt(square);
      embed::normalize(unit.data(), width);
      require_close(unit, wanted, 1e-6);
    }
    std::vector<float> zero(16, 0.0F);
    embed::normalize(zero.data(), zero.size());
    require_close(zero, std::vector<double>(16, 0.0), 0);
  });
}

TEST_CASE("codes of rows are the values rounded to 255 steps between the smallest and the largest") {
  on_every_isa([] {
    for (const std::size_t width : widths) {
      const std::size_t count = 4;
      std::vector<float> rows = random_floats(count * width, 1, 5.0F);
      std::fill_n(rows.begin(), width, 0.0F);
      for (std::size_t i = width; i < 2 * width; ++i) rows[i] = std::abs(rows[i]);
      std::vector<std::uint8_t> codes(count * width);
      std::vector<embed::RowCode> row_codes(count);
      embed::quantize_rows(rows.data(), count, width, codes.data(), row_codes.data());
      CAPTURE(width);
      CHECK(row_codes[0].scale == 0);
      CHECK(row_codes[1].zero == 0);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const embed::RowCode row = row_codes[i / width];
        REQUIRE(std::abs(static_cast<float>(codes[i] - row.zero) * row.scale - rows[i]) <= 0.75F * row.scale);
      }
      if (width > 1) CHECK(*std::max_element(codes.begin() + width, codes.end()) >= 254);
    }
  });
}

TEST_CASE("sums of products of codes become values, activations and normalised rows") {
  on_every_isa([] {
    for (const std::size_t width : widths) {
      const std::size_t count = 4;
      std::mt19937 engine(7);
      std::vector<std::int32_t> sums(count * width), weight_sums(width);
      for (std::int32_t& sum : sums) sum = static_cast<std::int32_t>(engine() % 2'000'001) - 1'000'000;
      for (std::int32_t& each : weight_sums) each = static_cast<std::int32_t>(engine() % 2'001) - 1'000;
      const std::vector<float> scale = random_floats(width, 1, 1e-3F, 2e-3F), bias = random_floats(width, 2);
      const std::vector<embed::RowCode> rows = {{1e-3F, 128}, {2e-3F, 0}, {0.0F, 0}, {5e-4F, 255}};
      const embed::Sums given{sums.data(), rows.data(), count, width};
      const embed::Columns columns{weight_sums.data(), scale.data(), bias.data()};
      std::vector<double> wanted(sums.size());
      for (std::size_t i = 0; i < sums.size(); ++i) {
        const embed::RowCode row = rows[i / width];
        wanted[i] = static_cast<double>(sums[i] - row.zero * weight_sums[i % width]) * row.scale * scale[i % width] +
                    bias[i % width];
      }
      CAPTURE(width);
      std::vector<float> values(sums.size());
      embed::dequantize(given, columns, values.data());
      require_close(values, wanted, 2e-5);

      std::vector<float> row(width);
      std::vector<std::uint8_t> codes(sums.size());
      std::vector<embed::RowCode> row_codes(count);
      for (const Activation activation : {Activation::gelu, Activation::gelu_tanh, Activation::relu}) {
        embed::activate_quantize(given, columns, activation, row.data(), codes.data(), row_codes.data());
        for (std::size_t i = 0; i < sums.size(); ++i) {
          const double x = wanted[i];
          double y = std::max(x, 0.0);
          if (activation == Activation::gelu) y = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
          if (activation == Activation::gelu_tanh) {
            y = 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
          }
          const embed::RowCode code = row_codes[i / width];
          REQUIRE(std::abs((codes[i] - code.zero) * static_cast<double>(code.scale) - y) <= 0.75 * code.scale + 2e-5);
          // The last row is still there in full.
          if (i / width == count - 1) REQUIRE(std::abs(row[i % width] - y) <= 2e-5);
        }
      }

      const std::vector<float> before = random_floats(sums.size(), 3), norm_scale = random_floats(width, 4),
                               norm_shift = random_floats(width, 5);
      const embed::LayerNorm norm{norm_scale.data(), norm_shift.data(), 1e-5F};
      std::vector<float> in_f32 = before, in_int8 = before;
      embed::add_layer_norm(in_f32.data(), values.data(), count, width, norm);
      embed::add_layer_norm_quantize(given, columns, norm, in_int8.data(), codes.data(), row_codes.data());
      require_close(in_int8, {in_f32.begin(), in_f32.end()}, 1e-4);
      std::vector<std::uint8_t> codes_again(sums.size());
      std::vector<embed::RowCode> rows_again(count);
      embed::quantize_rows(in_int8.data(), count, width, codes_again.data(), rows_again.data());
      CHECK(codes == codes_again);
      for (std::size_t r = 0; r < count; ++r) CHECK(row_codes[r].zero == rows_again[r].zero);
    }
  });
}
