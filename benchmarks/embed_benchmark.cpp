// Time and quality of TransformerEmbedder on one thread.
//
//     embed_benchmark --model DIR [--precision f32|int8] [--golden FILE] [Google Benchmark options]
//     embed_benchmark --model DIR --pipe       one text at a time for compare/embed_peers.py

#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/embed/transformer_embedder.hpp"

namespace {

using promptcache::TransformerEmbedder;
using EmbedderPointer = std::shared_ptr<const TransformerEmbedder>;

std::string text_of(std::size_t tokens) {
  std::string text = "how";
  for (std::size_t i = 3; i < tokens; ++i) text += " the";
  return text;
}

/// Lowest cosine with sentence-transformers over the golden texts, JSON {"texts": [...], "embeddings": [[...]]}.
double lowest_cosine(const TransformerEmbedder& embedder, const std::string& path) {
  const nlohmann::json golden = nlohmann::json::parse(std::ifstream(path));
  double lowest = 1;
  for (std::size_t i = 0; i < golden.at("texts").size(); ++i) {
    const std::vector<float> ours = embedder.embed_one(golden["texts"][i].get<std::string>());
    const auto theirs = golden.at("embeddings")[i].get<std::vector<float>>();
    double dot = 0, square = 0;
    for (std::size_t j = 0; j < ours.size(); ++j) {
      dot += static_cast<double>(ours[j]) * theirs.at(j);
      square += static_cast<double>(theirs[j]) * theirs[j];
    }
    lowest = std::min(lowest, dot / std::sqrt(square));
  }
  return lowest;
}

void embed_one_text(benchmark::State& state, EmbedderPointer embedder, double cosine) {
  const std::string text = text_of(static_cast<std::size_t>(state.range(0)));
  const std::string_view view = text;
  std::vector<float> out(embedder->dimension());
  std::size_t tokens = 0;
  for (auto _ : state) {
    tokens += embedder->embed({&view, 1}, out).tokens;
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["tokens"] = static_cast<double>(tokens) / static_cast<double>(state.iterations());
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
  if (cosine > 0) state.counters["lowest_cosine"] = cosine;
}

void embed_batch(benchmark::State& state, EmbedderPointer embedder) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < static_cast<std::size_t>(state.range(0)); ++i) texts.push_back(text_of(5 + i * 7 % 40));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<float> out(views.size() * embedder->dimension());
  std::size_t tokens = 0;
  for (auto _ : state) tokens += embedder->embed(views, out).tokens;
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}

/// Lines "REPEATS<TAB>TEXT" in, "NANOSECONDS ...<TAB>VALUES ..." out.
int answer_pipe(const TransformerEmbedder& embedder) {
  std::string line;
  std::vector<float> out(embedder.dimension());
  while (std::getline(std::cin, line)) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) return 1;
    const std::string_view text = std::string_view(line).substr(tab + 1);
    for (int i = std::stoi(line); i > 0; --i) {
      const auto start = std::chrono::steady_clock::now();
      embedder.embed({&text, 1}, out);
      std::cout << std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count() << (i > 1 ? " " : "\t");
    }
    for (const float value : out) std::cout << value << ' ';
    std::cout << std::endl;
  }
  return 0;
}

/// Takes `name VALUE` out of the arguments.
std::string take_option(std::vector<char*>& arguments, const char* name) {
  for (std::size_t i = 1; i + 1 < arguments.size(); ++i) {
    if (std::strcmp(arguments[i], name) != 0) continue;
    const std::string value = arguments[i + 1];
    arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i),
                    arguments.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    return value;
  }
  return "";
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<char*> arguments(argv, argv + argc);
  std::string model = take_option(arguments, "--model");
  if (model.empty()) model = "models/all-MiniLM-L6-v2";
  const std::string golden = take_option(arguments, "--golden");
  const std::string precision = take_option(arguments, "--precision");
  const auto begin = std::chrono::steady_clock::now();
  const EmbedderPointer embedder = TransformerEmbedder::open(
      model, {.parallel_callers = 1,
              .precision = promptcache::precision_from(precision.empty() ? "automatic" : precision, "--precision")});
  const std::chrono::duration<double, std::milli> opening = std::chrono::steady_clock::now() - begin;
  if (arguments.size() > 1 && std::strcmp(arguments[1], "--pipe") == 0) {
    std::cout.precision(9);
    return answer_pipe(*embedder);
  }
  const double cosine = golden.empty() ? 0 : lowest_cosine(*embedder, golden);
  for (const int tokens : {8, 16, 32, 64, 128}) {
    benchmark::RegisterBenchmark("embed_one_text", embed_one_text, embedder, cosine)
        ->Arg(tokens)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RegisterBenchmark("embed_batch", embed_batch, embedder)->Arg(32)->Arg(256)->Unit(benchmark::kMillisecond);
  benchmark::AddCustomContext("model", model);
  benchmark::AddCustomContext("precision", to_string(embedder->precision()));
  benchmark::AddCustomContext("opening, ms", std::to_string(opening.count()));
  benchmark::AddCustomContext("isa", std::string(promptcache::active_isa()));
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
} catch (const std::exception& error) {
  std::cerr << "embed_benchmark: " << error.what() << '\n';
  return 1;
}
