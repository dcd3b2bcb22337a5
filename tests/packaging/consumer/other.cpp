#include <memory>

#include "all.hpp"

std::string sentence_of(const std::string& model) {
  const auto embedder = promptcache::TransformerEmbedder::open(model);
  promptcache::Cache cache({.embedder = embedder, .policy = std::make_shared<promptcache::ThresholdPolicy>(0.99)});
  const auto ask = [&] { return cache.get_or_compute({"hello"}, [] { return std::string("hi"); }); };
  ask();
  return "promptcache " PROMPTCACHE_VERSION ", dimension " + std::to_string(embedder->embed_one("hello").size()) +
         ", " + to_string(ask().outcome);
}
