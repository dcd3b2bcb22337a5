#include "promptcache/pairs/similarity.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <string_view>
#include <thread>
#include <unordered_map>

namespace promptcache {

PairSimilarities pair_similarities(const Embedder& embedder, const std::vector<Pair>& pairs, std::size_t threads,
                                   const ProgressCallback& progress) {
  std::unordered_map<std::string_view, std::size_t> numbers;
  std::vector<std::string_view> texts;
  const auto number_of = [&](std::string_view text) {
    const auto [place, fresh] = numbers.try_emplace(text, texts.size());
    if (fresh) texts.push_back(text);
    return place->second;
  };
  std::vector<std::array<std::size_t, 2>> ends;
  for (const Pair& pair : pairs) ends.push_back({number_of(pair.q1), number_of(pair.q2)});

  // Texts of like length share a block, so that no thread ends up with all the long ones.
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return texts[a].size() > texts[b].size(); });
  constexpr std::size_t block = 32;
  const std::size_t width = embedder.dimension();
  std::vector<float> vectors(texts.size() * width);
  std::atomic<std::size_t> next{0};
  std::size_t done = 0;
  std::size_t truncated = 0;
  std::exception_ptr failure;
  std::mutex mutex;  // guards done, truncated, failure and the progress callback
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
        truncated += report.truncated.size();
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

  PairSimilarities result;
  result.distinct_texts = texts.size();
  result.truncated_texts = truncated;
  for (const auto& [a, b] : ends) {
    const float* x = vectors.data() + a * width;
    const float* y = vectors.data() + b * width;
    double dot = 0;
    for (std::size_t i = 0; i < width; ++i) dot += static_cast<double>(x[i]) * y[i];
    result.values.push_back(dot);
  }
  return result;
}

}  // namespace promptcache
