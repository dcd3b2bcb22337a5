// Time and quality of TransformerEmbedder.
//
//     embed_benchmark --model DIR [--precision f32|int8] [--threads N] [--golden FILE] [Google Benchmark options]
//     embed_benchmark --model DIR --pipe       one text at a time for compare/embed_peers.py
//     embed_benchmark --model DIR --bulk       files of texts for compare/bulk_peers.py and others: a line
//                                              TEXTS<TAB>VECTORS names a file with a text a line, and one to be written

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/embed/bulk.hpp"
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

/// Both modes below open the model at the first line, so that whoever writes it can take the time of opening and the
/// growth of memory from outside, and in the same way for every engine.
struct Opening {
  std::string model;
  promptcache::EmbedderOptions options;

  EmbedderPointer operator()() const { return TransformerEmbedder::open(model, options); }
};

std::int64_t nanoseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count();
}

/// Lines "REPEATS<TAB>TEXT" in, "NANOSECONDS ...<TAB>VALUES ..." out.
void answer_pipe(const Opening& open) {
  std::cout.precision(9);
  EmbedderPointer embedder;
  std::vector<float> out;
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) throw std::runtime_error("a line without REPEATS and a tab: " + line);
    if (!embedder) embedder = open();
    out.resize(embedder->dimension());
    const std::string_view text = std::string_view(line).substr(tab + 1);
    for (int i = std::stoi(line); i > 0; --i) {
      const auto start = std::chrono::steady_clock::now();
      embedder->embed({&text, 1}, out);
      std::cout << nanoseconds_since(start) << (i > 1 ? " " : "\t");
    }
    for (const float value : out) std::cout << value << ' ';
    std::cout << std::endl;
  }
}

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// Lines "TEXTS<TAB>VECTORS" in, "NANOSECONDS TOKENS" out: embeds the lines of the file TEXTS, and where VECTORS is not
/// empty writes them there, row-major and in the machine's order of bytes. Neither file is part of the time. Further
/// fields are for engines that can be given a batch size.
void answer_bulk(const Opening& open) {
  EmbedderPointer embedder;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream fields(line);
    std::string texts_path, vectors_path;
    std::getline(std::getline(fields, texts_path, '\t'), vectors_path, '\t');
    const std::vector<std::string> texts = lines_of(texts_path);
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    if (!embedder) embedder = open();
    std::vector<float> vectors(texts.size() * embedder->dimension());
    std::size_t next = 10000;
    const auto start = std::chrono::steady_clock::now();
    const promptcache::BulkReport report = promptcache::embed_all(
        *embedder, views, open.options.parallel_callers, vectors, [&](const promptcache::Progress& progress) {
          if (progress.done < next) return;
          std::cerr << "embedded " << progress.done << " of " << progress.total << " texts\n";
          next = progress.done + 10000;
        });
    const std::int64_t time = nanoseconds_since(start);
    if (!vectors_path.empty()) {
      std::ofstream file(vectors_path, std::ios::binary);
      file.write(reinterpret_cast<const char*>(vectors.data()),
                 static_cast<std::streamsize>(vectors.size() * sizeof(float)));
      if (!file.flush()) throw std::runtime_error("cannot write " + vectors_path);
    }
    std::cout << time << ' ' << report.tokens << std::endl;
  }
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

/// Takes `name` out of the arguments; false when it is not there.
bool take_flag(std::vector<char*>& arguments, const char* name) {
  return std::erase_if(arguments, [&](const char* argument) { return std::strcmp(argument, name) == 0; }) > 0;
}

std::size_t threads_from(const std::string& value) {
  const int threads = value.empty() ? 1 : std::atoi(value.c_str());
  if (threads < 1) throw std::runtime_error("--threads: found " + value + ", wanted a number from 1 on");
  return static_cast<std::size_t>(threads);
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<char*> arguments(argv, argv + argc);
  std::string model = take_option(arguments, "--model");
  if (model.empty()) model = "models/all-MiniLM-L6-v2";
  const std::string golden = take_option(arguments, "--golden");
  const std::string precision = take_option(arguments, "--precision");
  const std::size_t threads = threads_from(take_option(arguments, "--threads"));
  const bool pipe = take_flag(arguments, "--pipe");
  const bool bulk = take_flag(arguments, "--bulk");
  // One text has all threads to itself; many texts are dealt out, each thread with calls of its own.
  const Opening open{
      model,
      {.parallel_callers = bulk ? threads : 1,
       .threads_per_call = bulk ? 1 : threads,
       .precision = promptcache::precision_from(precision.empty() ? "automatic" : precision, "--precision")}};
  if (pipe || bulk) {
    if (arguments.size() > 1) throw std::runtime_error(std::string("unknown argument ") + arguments[1]);
    if (pipe) answer_pipe(open);
    if (bulk) answer_bulk(open);
    return 0;
  }
  const auto begin = std::chrono::steady_clock::now();
  const EmbedderPointer embedder = open();
  const std::chrono::duration<double, std::milli> opening = std::chrono::steady_clock::now() - begin;
  const double cosine = golden.empty() ? 0 : lowest_cosine(*embedder, golden);
  for (const int tokens : {8, 16, 32, 64, 128}) {
    benchmark::RegisterBenchmark("embed_one_text", embed_one_text, embedder, cosine)
        ->Arg(tokens)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RegisterBenchmark("embed_batch", embed_batch, embedder)->Arg(32)->Arg(256)->Unit(benchmark::kMillisecond);
  benchmark::AddCustomContext("model", model);
  benchmark::AddCustomContext("precision", to_string(embedder->precision()));
  benchmark::AddCustomContext("threads of a call", std::to_string(threads));
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
