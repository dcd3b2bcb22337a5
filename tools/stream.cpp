#include "stream.hpp"

#include <cmath>
#include <cstdio>

#include "promptcache/base/error.hpp"

namespace tool {
namespace {

using promptcache::StreamCounts;
using promptcache::StreamScore;
using Json = nlohmann::ordered_json;

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

}  // namespace

std::vector<double> threshold_grid(double from, double step) {
  std::vector<double> result;
  constexpr double unit = 1e5;  // counted in whole numbers, so that 0.87 is 0.87
  const auto width = static_cast<long>(std::max(1.0, std::round(step * unit)));
  for (long at = std::lround(from * unit); at < std::lround(unit); at += width) {
    result.push_back(static_cast<double>(at) / unit);
  }
  result.push_back(1);
  return result;
}

Stream make_stream(const promptcache::Embedder& embedder, const std::vector<promptcache::Pair>& pairs, std::size_t most,
                   std::size_t threads, const promptcache::ProgressCallback& progress) {
  Stream stream;
  stream.prompts = promptcache::prompts_of_pairs(pairs, most);
  stream.vectors = embed_prompts(embedder, stream.prompts.texts, threads, progress);
  return stream;
}

StreamSweep sweep_stream(const Stream& scored, const Stream& chooses, std::size_t threads) {
  const std::vector<double> taus = threshold_grid();
  const promptcache::StreamRunOptions options{.threads = threads};
  const std::vector<StreamScore> choice = sweep_shuffles(chooses.prompts, chooses.vectors, {}, taus, options);
  const StreamScore* best = promptcache::most_efficient(choice);
  if (best == nullptr) {
    throw promptcache::Error(promptcache::ErrorCode::usage, {"threshold"},
                             "no two prompts to choose it on that share a response", "pairs with label 1");
  }
  StreamSweep sweep;
  sweep.prompts = scored.prompts.texts.size();
  sweep.repeats = sweep.prompts - scored.prompts.truth.components();
  sweep.points = sweep_shuffles(scored.prompts, scored.vectors, {}, taus, options);
  sweep.chosen = sweep.points[static_cast<std::size_t>(best - choice.data())];
  return sweep;
}

std::string sweep_text(const StreamSweep& sweep) {
  const StreamScore& chosen = sweep.chosen;
  const std::size_t hits = chosen.total.hits();
  char line[320];
  std::snprintf(
      line, sizeof(line),
      "threshold %.2f: of %zu prompts, %zu of them repeats, %.1f hits, %.1f %% of those of known truth wrong, "
      "%.1f of unknown truth, efficiency ",
      chosen.tau, sweep.prompts, sweep.repeats, static_cast<double>(hits) / static_cast<double>(chosen.shuffles.size()),
      100 * chosen.total.wrong_hit_rate().value_or(0), chosen.mean(&StreamCounts::unknown_hits));
  std::string text = line;
  if (!chosen.efficiency) return text + "undefined";
  std::snprintf(line, sizeof(line), "%.1f %%", 100 * chosen.efficiency->value);
  return text + line;
}

Json to_json(const StreamScore& score) {
  const auto mean = [&](std::size_t StreamCounts::*count) { return score.mean(count); };
  Json json;
  json["tau"] = score.tau;
  json["efficiency"] = score.efficiency ? Json(score.efficiency->value) : Json();
  json["efficiency_low"] = score.efficiency ? Json(score.efficiency->low) : Json();
  json["efficiency_high"] = score.efficiency ? Json(score.efficiency->high) : Json();
  json["hit_rate"] = score.total.hit_rate();
  json["wrong_hit_rate"] = json_of(score.total.wrong_hit_rate());
  json["unknown_hits"] = mean(&StreamCounts::unknown_hits);
  json["wrong_semantic_hit_rate"] = json_of(score.total.wrong_semantic_hit_rate());
  const auto& worst = score.efficiency_at_worst;
  json["efficiency_at_worst"] = worst ? Json(worst->value) : Json();
  json["efficiency_at_worst_low"] = worst ? Json(worst->low) : Json();
  json["efficiency_at_worst_high"] = worst ? Json(worst->high) : Json();
  json["requests"] = mean(&StreamCounts::requests);
  json["possible_hits"] = mean(&StreamCounts::possible_hits);
  json["exact_hits"] = mean(&StreamCounts::exact_hits);
  json["right_hits"] = mean(&StreamCounts::right_hits);
  json["wrong_hits"] = mean(&StreamCounts::wrong_hits);
  json["evictions"] = mean(&StreamCounts::evictions);
  return json;
}

Json to_json(const StreamSweep& sweep) {
  Json json = to_json(sweep.chosen);
  json["prompts"] = sweep.prompts;
  json["repeats"] = sweep.repeats;
  json["orders"] = sweep.chosen.shuffles.size();
  json["threshold"] = sweep.chosen.tau;
  return json;
}

}  // namespace tool
