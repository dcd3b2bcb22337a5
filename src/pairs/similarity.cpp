#include "promptcache/pairs/similarity.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <string_view>
#include <thread>
#include <unordered_map>

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

  // Texts of like length share a block, so that no thread ends up with all the long ones.
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return texts[a].size() > texts[b].size(); });
  constexpr std::size_t block = 32;
  const std::size_t width = embedder.dimension();
  std::vector<float>& vectors = result.vectors;
  vectors.resize(texts.size() * width);
  std::atomic<std::size_t> next{0};
  std::size_t done = 0;
  std::exception_ptr failure;
  std::mutex mutex;  // guards done, result.truncated, failure and the progress callback
  const auto work = [&] {
    std::vector<std::string_view> views;
    std::vector<float> out;
    for (std::size_t begin = next.fetch_add(block); begin < order.size(); begin = next.fetch_add(block)) {
      const std::size_t end = std::min(begin + block, order.size());
      views.clear();
      for (std::size_t i = begin; i < end; ++i) views.push_back(texts[order[i]]);
      out.resize(views.size() * width);
      try {
        const EmbedReport report = embedder.embed(views, out);
        for (std::size_t i = begin; i < end; ++i) {
          std::copy_n(out.data() + (i - begin) * width, width, vectors.data() + order[i] * width);
        }
        const std::lock_guard lock(mutex);
        done += views.size();
        result.truncated += report.truncated.size();
        if (progress) progress({"embedding", done, texts.size(), "texts", ""});
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next = order.size();
      }
    }
  };
  std::vector<std::thread> helpers;
  for (std::size_t t = 1; t < threads; ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);

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
