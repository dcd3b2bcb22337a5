#include "all.hpp"

std::string sentence_of(const std::string& model) {
  const auto embedder = promptcache::TransformerEmbedder::open(model);
  return "promptcache " PROMPTCACHE_VERSION ", dimension " + std::to_string(embedder->embed_one("hello").size());
}
