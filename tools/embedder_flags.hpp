#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <thread>

#include "promptcache/embed/transformer_embedder.hpp"

namespace tool {

/// How a tool opens its models; the same flags in each.
struct EmbedderFlags {
  std::size_t max_tokens = 0;
  std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  std::string precision = "f32";  // figures that are to be compared should not hang on a machine's choice

  void add_to(CLI::App& app) {
    app.add_option("--max-tokens", max_tokens, "longest input in tokens (default: the model's own)");
    app.add_option("--threads", threads, "threads")->capture_default_str()->check(CLI::Range(1, 1024));
    app.add_option("--precision", precision, "f32, bf16, int8, or automatic: what a server would choose")
        ->capture_default_str()
        ->check(CLI::IsMember({"f32", "bf16", "int8", "automatic"}));
  }

  promptcache::EmbedderOptions options() const {
    return {.max_tokens = max_tokens,
            .parallel_callers = threads,
            .threads_per_call = 1,
            .precision = promptcache::precision_from(precision, "--precision")};
  }
};

}  // namespace tool
