#pragma once

#include <CLI/CLI.hpp>

#include "promptcache/eval/hit_bound.hpp"

namespace tool {

/// What a threshold is tested for; the same flags in each tool.
inline void add_hit_bound_flags(CLI::App& app, promptcache::HitBoundOptions& options) {
  app.add_option("--target-wrong-hits", options.target, "share of wrong ones among hits to accept")
      ->capture_default_str();
  app.add_option("--confidence", options.confidence, "of the upper bounds on wrong hits")->capture_default_str();
  app.add_option(
      "--first-hits", options.first_hits,
      "hits of the strictest threshold tested, if more than the fewest that can pass; more forgive an error");
}

}  // namespace tool
