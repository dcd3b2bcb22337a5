// Turns three questions into vectors and compares them.
//
//     example_01_embed_and_compare models/all-MiniLM-L6-v2

#include <iostream>
#include <numeric>
#include <string_view>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/embed/transformer_embedder.hpp"

namespace pc = promptcache;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " MODEL_DIRECTORY\n";
    return 2;
  }
  try {
    const auto embedder = pc::TransformerEmbedder::open(argv[1]);
    const std::vector<std::string_view> texts = {
        "How do I reset my password?", "I forgot my password, how can I change it?", "How long do I boil an egg?"};
    const std::size_t width = embedder->dimension();
    std::vector<float> vectors(texts.size() * width);
    const pc::EmbedReport report = embedder->embed(texts, vectors);
    std::cout << texts.size() << " texts, " << report.tokens << " tokens, " << width << " dimensions\n";

    // The vectors have length one, so the cosine is their dot product.
    const auto cosine = [&](std::size_t a, std::size_t b) {
      const float* left = vectors.data() + a * width;
      return std::inner_product(left, left + width, vectors.data() + b * width, 0.0F);
    };
    const float same = cosine(0, 1);
    const float other = cosine(0, 2);
    std::cout << "same question:  " << same << "\nother question: " << other << '\n'
              << (same > other ? "the paraphrase is nearer\n" : "the paraphrase is not nearer\n");
    return same > other ? 0 : 1;
  } catch (const pc::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
