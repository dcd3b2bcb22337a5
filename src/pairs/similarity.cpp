#include "promptcache/pairs/similarity.hpp"

#include <span>
#include <string_view>
#include <unordered_map>

#include "promptcache/embed/bulk.hpp"

namespace promptcache {

EmbeddedQuestions embed_questions(const Embedder& embedder, const std::vector<Pair>& pairs, std::size_t threads,
                                  const ProgressCallback& progress) {
  EmbeddedQuestions result;
  std::unordered_map<std::string_view, std::size_t> numbers;
  std::vector<std::string_view>& texts = result.texts;
  const auto number_of = [&](std::string_view text) {
    const auto [place, fresh] = numbers.try_emplace(text, texts.size());
    if (fresh) texts.push_back(text);
    return place->second;
  };
  for (const Pair& pair : pairs) {
    result.first.push_back(number_of(pair.q1));
    result.second.push_back(number_of(pair.q2));
  }

  result.vectors.resize(texts.size() * embedder.dimension());
  result.truncated = embed_all(embedder, texts, threads, std::span(result.vectors), progress).truncated;
  return result;
}

PairSimilarities pair_similarities(const Embedder& embedder, const std::vector<Pair>& pairs, std::size_t threads,
                                   const ProgressCallback& progress) {
  const EmbeddedQuestions questions = embed_questions(embedder, pairs, threads, progress);
  const std::size_t width = embedder.dimension();
  PairSimilarities result;
  result.distinct_texts = questions.texts.size();
  result.truncated_texts = questions.truncated;
  for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
    const float* x = questions.vectors.data() + questions.first[pair] * width;
    const float* y = questions.vectors.data() + questions.second[pair] * width;
    double dot = 0;
    for (std::size_t i = 0; i < width; ++i) dot += static_cast<double>(x[i]) * static_cast<double>(y[i]);
    result.values.push_back(dot);
  }
  return result;
}

}  // namespace promptcache
