#include "peak.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {
namespace {

template <class Turn>
double best_per_second(double operations, int turns, Turn turn) {
  double best = 0;
  for (int i = 0; i < turns; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    turn();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    best = std::max(best, operations / taken.count());
  }
  return best;
}

#if defined(__x86_64__)
constexpr int steps = 20'000;

// `asm` between the steps keeps the compiler from folding them.
__attribute__((target("avx2,fma"))) void multiply_f32() {
  constexpr int chains = 12;  // more than latency times instructions a cycle
  __m256 sums[chains];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  __m256 a = _mm256_set1_ps(1.0F), b = _mm256_set1_ps(0.5F);
  for (int i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(a, b, sum);
  }
  for (__m256& sum : sums) asm volatile("" : : "x"(sum));
}

__attribute__((target("avx2"))) void multiply_bytes() {
  constexpr int chains = 8;
  __m256i sums[chains];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < steps; ++i) {
#pragma GCC unroll 8
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(a), "+x"(b));
      const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(a, b), _mm256_maddubs_epi16(b, a));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  }
  for (__m256i& sum : sums) asm volatile("" : : "x"(sum));
}
#endif

}  // namespace

double f32_operations_per_second() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return best_per_second(2.0 * 8 * 12 * steps, 400, multiply_f32);
  }
#endif
  return 0;
}

double byte_operations_per_second() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return best_per_second(2.0 * 64 * 8 * steps, 400, multiply_bytes);
#endif
  return 0;
}

double read_bytes_per_second(std::size_t bytes) {
  const std::vector<std::uint64_t> block(bytes / sizeof(std::uint64_t), 1);
  const int turns = static_cast<int>(std::clamp<std::size_t>(4'000'000'000 / bytes, 5, 2'000));
  return best_per_second(static_cast<double>(bytes), turns, [&] {
    std::uint64_t sums[8] = {};
    for (std::size_t i = 0; i + 8 <= block.size(); i += 8) {
      for (std::size_t j = 0; j < 8; ++j) sums[j] += block[i + j];
    }
    for (std::uint64_t& sum : sums) asm volatile("" : : "r"(sum));
  });
}

}  // namespace bench
