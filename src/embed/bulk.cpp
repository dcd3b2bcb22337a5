#include "promptcache/embed/bulk.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "base/parallel.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr std::size_t block = 64;  // inputs at a time: enough for the encoder to pack, few for threads to end together

/// body(positions) for blocks of all `count` inputs, those of like length together and the longest first, so that no
/// thread ends up with one when the others are done.
template <class Size, class Body>
void for_each_block(std::size_t count, std::size_t threads, Size size, Body body) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return size(a) > size(b); });
  base::in_parallel((count + block - 1) / block, threads, [&](std::size_t number) {
    const std::size_t begin = number * block;
    body(std::span<const std::size_t>(order.data() + begin, std::min(block, count - begin)));
  });
}

}  // namespace

BulkReport embed_all(const Embedder& embedder, std::span<const std::string_view> texts, std::size_t threads,
                     const VectorSink& sink, const ProgressCallback& progress) {
  std::mutex mutex;  // of all that follows, of the sink and of the progress callback
  BulkReport result;
  std::size_t done = 0;
  bool failed = false;
  const auto size = [&](std::size_t text) { return texts[text].size(); };
  for_each_block(texts.size(), threads, size, [&](std::span<const std::size_t> positions) {
    std::vector<std::string_view> views;
    for (const std::size_t position : positions) views.push_back(texts[position]);
    std::vector<float> vectors(views.size() * embedder.dimension());
    const EmbedReport report = embedder.embed(views, vectors);
    const std::lock_guard lock(mutex);
    if (failed) return;
    failed = true;  // unless all of this passes
    sink(positions, vectors);
    done += views.size();
    result.tokens += report.tokens;
    result.truncated += report.truncated.size();
    result.unrepresented += report.unrepresented.size();
    if (progress) progress({"embedding", done, texts.size(), "texts", ""});
    failed = false;
  });
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

BulkReport score_all(const PairScorer& scorer, std::span<const TextPair> pairs, std::size_t threads,
                     std::span<float> logits, const ProgressCallback& progress) {
  if (logits.size() != pairs.size()) {
    throw Error(ErrorCode::usage, {"score_all"}, std::to_string(logits.size()) + " floats of output",
                std::to_string(pairs.size()));
  }
  std::mutex mutex;  // of all that follows and of the progress callback
  BulkReport result;
  std::size_t done = 0;
  const auto size = [&](std::size_t pair) { return pairs[pair].first.size() + pairs[pair].second.size(); };
  for_each_block(pairs.size(), threads, size, [&](std::span<const std::size_t> positions) {
    std::vector<TextPair> part;
    for (const std::size_t position : positions) part.push_back(pairs[position]);
    std::vector<float> scores(part.size());
    const PairReport report = scorer.score(part, scores);
    for (std::size_t i = 0; i < positions.size(); ++i) logits[positions[i]] = scores[i];
    const std::lock_guard lock(mutex);
    done += part.size();
    result.tokens += report.tokens;
    result.truncated += report.truncated.size();
    if (progress) progress({"scoring", done, pairs.size(), "pairs", ""});
  });
  return result;
}

}  // namespace promptcache
