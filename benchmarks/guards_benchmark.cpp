// What a look at two prompts costs the request path: both read, one read beforehand, both read beforehand.
//
//     guards_benchmark --benchmark_filter=both_unread

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "promptcache/policy/guards.hpp"

namespace {

using promptcache::Guards;
using promptcache::PreparedPrompt;

struct Prompts {
  const char* name;
  std::string a, b;
};

std::string repeated(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text + " ";
  return result;
}

const Prompts& prompts(benchmark::State& state) {
  static const std::string one = "How do I move the 5 large files from my old laptop to the new server in Paris?";
  static const std::string other =
      "what is the best way to copy seven large files from the server in London to a laptop";
  static const std::vector<Prompts> all = {
      {"equal_8", "how do i reset my router at home", "How do I reset my router at home?"},
      {"paraphrase_16", one, "how can i move five big files from my old laptop to the new Paris server"},
      {"different_16", one, other},
      {"different_160", repeated(one, 10), repeated(other, 10)},
      {"different_1600", repeated(one, 100), repeated(other, 100)}};
  const Prompts& chosen = all[static_cast<std::size_t>(state.range(0))];
  state.SetLabel(chosen.name);
  return chosen;
}

void both_unread(benchmark::State& state) {
  const auto guards = Guards::english();
  const Prompts& pair = prompts(state);
  for (auto _ : state) benchmark::DoNotOptimize(guards->flags(pair.a, pair.b));
}

void with_words(benchmark::State& state) {
  const auto guards = Guards::english();
  const Prompts& pair = prompts(state);
  for (auto _ : state) benchmark::DoNotOptimize(guards->check(pair.a, pair.b));
}

void both_read(benchmark::State& state) {
  const auto guards = Guards::english();
  const Prompts& pair = prompts(state);
  const PreparedPrompt a = guards->prepare(pair.a);
  const PreparedPrompt b = guards->prepare(pair.b);
  for (auto _ : state) benchmark::DoNotOptimize(guards->flags(a, b));
}

BENCHMARK(both_unread)->DenseRange(0, 4);
BENCHMARK(with_words)->DenseRange(0, 4);
BENCHMARK(both_read)->DenseRange(0, 4);

}  // namespace

BENCHMARK_MAIN();
