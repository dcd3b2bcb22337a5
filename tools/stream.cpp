#include "stream.hpp"

#include <algorithm>
#include <cstdio>

#include "promptcache/pairs/similarity.hpp"

namespace tool {
namespace {

constexpr std::size_t orders = 20;
constexpr std::uint64_t seed = 1;

std::vector<double> thresholds() {
  std::vector<double> result;
  for (int percent = 30; percent <= 100; ++percent) result.push_back(percent / 100.0);
  return result;
}

}  // namespace

Stream make_stream(const promptcache::Embedder& embedder, const std::vector<promptcache::Pair>& pairs, std::size_t most,
                   std::size_t threads, const promptcache::ProgressCallback& progress) {
  const std::vector<promptcache::Pair> taken(
      pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(std::min(pairs.size(), most / 2)));
  promptcache::EmbeddedQuestions questions = embed_questions(embedder, taken, threads, progress);
  std::vector<std::uint8_t> positive;
  for (const promptcache::Pair& pair : taken) positive.push_back(pair.positive() ? 1 : 0);
  Stream stream;
  stream.texts.assign(questions.texts.begin(), questions.texts.end());
  stream.prompts.dimension = embedder.dimension();
  stream.prompts.group = promptcache::groups_of(stream.texts.size(), questions.first, questions.second, positive);
  stream.prompts.vectors = std::move(questions.vectors);
  return stream;
}

StreamSweep sweep_stream(const Stream& scored, const Stream& chooses) {
  const std::vector<promptcache::StreamPoint> choice = simulate_stream(chooses.prompts, thresholds(), orders, seed);
  const auto best = std::max_element(choice.begin(), choice.end(),
                                     [](const auto& a, const auto& b) { return a.efficiency < b.efficiency; });
  StreamSweep sweep;
  sweep.prompts = scored.prompts.size();
  sweep.repeats = scored.prompts.repeats();
  sweep.points = simulate_stream(scored.prompts, thresholds(), orders, seed);
  sweep.chosen = sweep.points[static_cast<std::size_t>(best - choice.begin())];
  return sweep;
}

std::string sweep_text(const StreamSweep& sweep) {
  char line[240];
  std::snprintf(
      line, sizeof(line),
      "threshold %.2f: of %zu prompts, %zu of them repeats, %.1f hits, %.1f %% of them wrong, efficiency %.1f %%",
      sweep.chosen.threshold, sweep.prompts, sweep.repeats, sweep.chosen.hits, 100 * sweep.chosen.wrong_share(),
      100 * sweep.chosen.efficiency);
  return line;
}

nlohmann::ordered_json to_json(const StreamSweep& sweep) {
  return {{"prompts", sweep.prompts},
          {"repeats", sweep.repeats},
          {"orders", orders},
          {"threshold", sweep.chosen.threshold},
          {"hits", sweep.chosen.hits},
          {"true_hits", sweep.chosen.true_hits},
          {"wrong_share", sweep.chosen.wrong_share()},
          {"efficiency", sweep.chosen.efficiency}};
}

}  // namespace tool
