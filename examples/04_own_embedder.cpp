// An Embedder of one's own is one small class: here letters in groups of three, hashed. It needs no model, knows
// nothing of meaning, and is still good at forgiving typing errors.

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <memory>
#include <string>

#include "promptcache/promptcache.hpp"

namespace pc = promptcache;

class TrigramEmbedder : public pc::Embedder {
 public:
  std::size_t dimension() const override { return 256; }

  // Part of every stored entry: change it whenever the same text would give another vector.
  pc::Digest identity() const override { return pc::sha256("letters in threes, 256 buckets, version 1"); }

  pc::EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    std::fill(out.begin(), out.end(), 0.0F);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      float* vector = out.data() + i * dimension();
      const std::string text = "  " + std::string(texts[i]) + "  ";
      for (std::size_t at = 0; at + 3 <= text.size(); ++at) {
        vector[std::hash<std::string_view>()(std::string_view(text).substr(at, 3)) % dimension()] += 1;
      }
      float square = 0;
      for (std::size_t j = 0; j < dimension(); ++j) square += vector[j] * vector[j];
      for (std::size_t j = 0; j < dimension(); ++j) vector[j] /= std::sqrt(square);
    }
    return {};  // nothing was cut, every text has a vector of its own
  }
};

int main() {
  pc::Cache cache(
      {.embedder = std::make_shared<TrigramEmbedder>(), .policy = std::make_shared<pc::ThresholdPolicy>(0.8)});
  cache.get_or_compute({"where is my order"}, [] { return std::string("In the post."); });
  for (const char* prompt : {"where is my oder", "how do I cancel"}) {
    const pc::Lookup ticket = cache.lookup({prompt});
    std::cout << prompt << ": " << (ticket.hit() ? ticket.reply().response : "not known") << "\n";
  }
}
