#include "promptcache/embed/bulk.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr std::size_t block =
    64;  // texts at a time: enough for the encoder to pack, few for the threads to end together

}  // namespace

BulkReport embed_all(const Embedder& embedder, std::span<const std::string_view> texts, std::size_t threads,
                     const VectorSink& sink, const ProgressCallback& progress) {
  // The longest first, so that no thread ends up with one when the others are done.
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return texts[a].size() > texts[b].size(); });
  const std::size_t width = embedder.dimension();
  std::atomic<std::size_t> next{0};
  std::mutex mutex;  // of all that follows, of the sink and of the progress callback
  BulkReport result;
  std::size_t done = 0;
  std::exception_ptr failure;
  const auto work = [&] {
    std::vector<std::string_view> views;
    std::vector<float> vectors;
    try {
      for (std::size_t begin = next.fetch_add(block); begin < order.size(); begin = next.fetch_add(block)) {
        const std::span<const std::size_t> positions(order.data() + begin, std::min(block, order.size() - begin));
        views.clear();
        for (const std::size_t position : positions) views.push_back(texts[position]);
        vectors.resize(views.size() * width);
        const EmbedReport report = embedder.embed(views, vectors);
        const std::lock_guard lock(mutex);
        if (failure) return;
        sink(positions, vectors);
        done += views.size();
        result.tokens += report.tokens;
        result.truncated += report.truncated.size();
        result.unrepresented += report.unrepresented.size();
        if (progress) progress({"embedding", done, texts.size(), "texts", ""});
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = order.size();
    }
  };
  std::vector<std::jthread> helpers;
  const std::size_t useful = std::min(threads, (texts.size() + block - 1) / block);
  for (std::size_t t = 1; t < useful; ++t) helpers.emplace_back(work);
  work();
  helpers.clear();  // joins
  if (failure) std::rethrow_exception(failure);
  return result;
}

BulkReport embed_all(const Embedder& embedder, std::span<const std::string_view> texts, std::size_t threads,
                     std::span<float> out, const ProgressCallback& progress) {
  const std::size_t width = embedder.dimension();
  if (out.size() != texts.size() * width) {
    throw Error(ErrorCode::usage, {"embed_all"}, std::to_string(out.size()) + " floats of output",
                std::to_string(texts.size()) + " x " + std::to_string(width));
  }
  const auto place = [&](std::span<const std::size_t> positions, std::span<const float> vectors) {
    for (std::size_t i = 0; i < positions.size(); ++i) {
      std::copy_n(vectors.data() + i * width, width, out.data() + positions[i] * width);
    }
  };
  return embed_all(embedder, texts, threads, VectorSink(place), progress);
}

}  // namespace promptcache
