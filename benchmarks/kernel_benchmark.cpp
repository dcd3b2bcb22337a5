// The kernels alone, with the share that each reaches of what the machine can do, measured in the same run: arithmetic
// beside a loop in registers, scans beside a read of as many bytes.
//
//     kernel_benchmark --benchmark_filter=product

#include <benchmark/benchmark.h>
#include <hwy/aligned_allocator.h>

#include <random>
#include <string>
#include <vector>

#include "embed/byte_product.hpp"
#include "embed/kernels.hpp"
#include "embed/matrix_product.hpp"
#include "embed/openmp_threads.hpp"
#include "index/dot.hpp"
#include "index/quantize.hpp"
#include "peak.hpp"
#include "promptcache/base/isa.hpp"

namespace {

namespace embed = promptcache::embed;
namespace index = promptcache::index;

/// The products of one layer of MiniLM.
struct Shape {
  const char* name;
  std::size_t in, out;
};
constexpr Shape shapes[] = {
    {"projection", 384, 1152}, {"attention_output", 384, 384}, {"up", 384, 1536}, {"down", 1536, 384}};
constexpr std::size_t copies = 6;  // as many layers as MiniLM has, so that the weights come from where they do there

void report(benchmark::State& state, double operations, double peak, const char* unit) {
  const double all = operations * static_cast<double>(state.iterations());
  state.counters[unit] = benchmark::Counter(all / 1e9, benchmark::Counter::kIsRate);
  if (peak > 0) state.counters["of_peak"] = benchmark::Counter(all / peak, benchmark::Counter::kIsRate);
}

template <class T>
hwy::AlignedFreeUniquePtr<T[]> random_values(std::size_t count) {
  auto values = hwy::AllocateAligned<T>(count);
  std::mt19937 engine(1);
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      values[i] = static_cast<float>(engine() % 2001) / 1000 - 1;
    } else {
      values[i] = static_cast<T>(static_cast<int>(engine() % 63) - (std::is_signed_v<T> ? 31 : 0));
    }
  }
  return values;
}

template <class Weight, class X, class Y>
void product(benchmark::State& state, Shape shape, embed::Arithmetic arithmetic, double peak) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  const embed::OpenMpThreads inside(1);
  const embed::MatrixProduct product(shape.in, shape.out, arithmetic);
  dnnl::stream stream(embed::cpu_engine());
  dnnl::memory scratch;
  const auto weights = random_values<Weight>(shape.in * shape.out);
  const auto bias = random_values<float>(shape.out);
  std::vector<hwy::AlignedFreeUniquePtr<std::byte[]>> packed;
  for (std::size_t i = 0; i < copies; ++i) {
    packed.push_back(hwy::AllocateAligned<std::byte>(product.packed_size()));
    product.pack(std::span<const Weight>(weights.get(), shape.in * shape.out), packed.back().get());
  }
  const auto x = random_values<X>(rows * shape.in + embed::MatrixProduct::readable_beyond);
  const auto y = hwy::AllocateAligned<Y>(rows * shape.out);
  std::size_t turn = 0;
  for (auto _ : state) {
    product.run(x.get(), rows, {packed[turn++ % copies].get(), bias.get()}, y.get(), stream, scratch);
    benchmark::DoNotOptimize(y.get());
  }
  report(state, 2.0 * static_cast<double>(rows * shape.in * shape.out), peak, "GFLOP/s");
  state.SetLabel(product.kernel(rows));
}

void attention(benchmark::State& state, double peak) {
  const auto length = static_cast<std::size_t>(state.range(0));
  constexpr std::size_t heads = 12, head_size = 32, width = heads * head_size;
  const auto projections = random_values<float>(length * 3 * width);
  const auto out = hwy::AllocateAligned<float>(length * width);
  const auto scratch = hwy::AllocateAligned<float>(embed::attention_scratch(length, head_size));
  for (auto _ : state) {
    for (std::size_t head = 0; head < heads; ++head) {
      embed::attend(projections.get() + head * head_size, length, head_size, 3 * width, width,
                    out.get() + head * head_size, width, scratch.get());
    }
    benchmark::DoNotOptimize(out.get());
  }
  report(state, 4.0 * static_cast<double>(heads * length * length * head_size), peak, "GFLOP/s");
}

/// What lies between two products: activation and codes of one, or normalisation and codes.
void between(benchmark::State& state, std::size_t width, bool activation) {
  const auto rows = static_cast<std::size_t>(state.range(0));
  const auto sums = random_values<std::int32_t>(rows * width);
  const std::vector<std::int32_t> weight_sum(width, 3);
  const std::vector<float> scale(width, 0.01F), bias(width, 0.1F), ones(width, 1);
  const std::vector<embed::RowCode> given(rows, {0.1F, 7});
  const embed::Sums from{sums.get(), given.data(), rows, width};
  const embed::Columns columns{weight_sum.data(), scale.data(), bias.data()};
  std::vector<float> values(rows * width);
  std::vector<std::uint8_t> codes(rows * width);
  std::vector<embed::RowCode> row_codes(rows);
  for (auto _ : state) {
    if (activation) {
      embed::activate_quantize(from, columns, promptcache::Activation::gelu, values.data(), codes.data(),
                               row_codes.data());
    } else {
      embed::add_layer_norm_quantize(from, columns, {ones.data(), bias.data(), 1e-12F}, values.data(), codes.data(),
                                     row_codes.data());
    }
    benchmark::DoNotOptimize(codes.data());
  }
  state.counters["values/ns"] = benchmark::Counter(
      static_cast<double>(rows * width) / 1e9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

constexpr std::size_t width = 384;

void scan_f32(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto rows = random_values<float>(count * width);
  const auto query = random_values<float>(width);
  std::vector<float> out(count);
  const double peak = bench::read_bytes_per_second(count * width * sizeof(float));
  for (auto _ : state) {
    index::dot_rows(query.get(), rows.get(), count, width, out.data());
    benchmark::DoNotOptimize(out.data());
  }
  report(state, static_cast<double>(count * width * sizeof(float)), peak, "GB/s");
}

void scan_codes(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto rows = random_values<std::int8_t>(count * width);
  const auto query = random_values<std::int16_t>(width);
  std::vector<float> out(count);
  const double peak = bench::read_bytes_per_second(count * width);
  for (auto _ : state) {
    index::dot_codes(query.get(), rows.get(), count, width, out.data());
    benchmark::DoNotOptimize(out.data());
  }
  report(state, static_cast<double>(count * width), peak, "GB/s");
}

}  // namespace

int main(int argc, char** argv) {
  const double f32 = bench::f32_operations_per_second();
  const double bytes = embed::byte_product_wanted() ? bench::byte_operations_per_second() : 0;
  for (const Shape& shape : shapes) {
    const auto int8 = product<std::int8_t, std::uint8_t, std::int32_t>;
    const auto single = product<float, float, float>;
    const std::string name = shape.name;
    for (const int rows : {8, 16, 32, 128}) {
      benchmark::RegisterBenchmark(("product_int8/" + name).c_str(), int8, shape, embed::Arithmetic::int8, bytes)
          ->Arg(rows);
      benchmark::RegisterBenchmark(("product_f32/" + name).c_str(), single, shape, embed::Arithmetic::f32, f32)
          ->Arg(rows);
    }
  }
  for (const int length : {16, 128}) {
    benchmark::RegisterBenchmark("attention", attention, f32)->Arg(length);
    benchmark::RegisterBenchmark("gelu_to_codes", between, 1536, true)->Arg(length);
    benchmark::RegisterBenchmark("norm_to_codes", between, 384, false)->Arg(length);
  }
  for (const int count : {5'000, 50'000, 500'000}) {
    benchmark::RegisterBenchmark("scan_f32", scan_f32)->Arg(count)->Unit(benchmark::kMicrosecond);
    benchmark::RegisterBenchmark("scan_codes", scan_codes)->Arg(count)->Unit(benchmark::kMicrosecond);
  }
  benchmark::AddCustomContext("isa", std::string(promptcache::active_isa()));
  benchmark::AddCustomContext("f32 peak, GFLOP/s", std::to_string(f32 / 1e9));
  if (bytes > 0) benchmark::AddCustomContext("int8 peak, GFLOP/s", std::to_string(bytes / 1e9));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
