#include "simulation.hpp"

#include <algorithm>
#include <cstdio>

#include "numbers.hpp"
#include "promptcache/base/error.hpp"
#include "stream.hpp"

namespace tool {
namespace {

using promptcache::StreamCounts;
using promptcache::StreamScore;
using Json = nlohmann::ordered_json;

Savings savings_of(const StreamScore& score, const SimulationOptions& options) {
  const auto shuffles = static_cast<double>(score.shuffles.size());
  Savings savings;
  savings.calls =
      (static_cast<double>(score.total.hits()) - options.wrong_hit_cost * static_cast<double>(score.total.wrong_hits)) /
      shuffles;
  savings.share = savings.calls / score.mean(&StreamCounts::requests);
  if (options.latency_ms) savings.seconds = savings.calls * *options.latency_ms / 1000;
  if (options.price) savings.cost = savings.calls * *options.price;
  return savings;
}

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json json_of(const ModelSimulation& model, const SimulationOptions& options) {
  Json json = to_json(model.score);
  if (options.latency_ms || options.price) {
    json["saved"] = {{"calls", model.savings.calls},
                     {"share", model.savings.share},
                     {"seconds", json_of(model.savings.seconds)},
                     {"cost", json_of(model.savings.cost)}};
  }
  json["truncated"] = model.truncated;
  for (const StreamScore& score : model.curve) json["curve"].push_back(to_json(score));
  for (const StreamScore& score : model.choice) {
    json["tuning"].push_back(
        {{"tau", score.tau}, {"efficiency", score.efficiency ? Json(score.efficiency->value) : Json()}});
  }
  if (model.timing) json["timings"] = to_json(*model.timing);
  return json;
}

}  // namespace

ModelSimulation simulate(const std::string& directory, const promptcache::PromptSet& scored,
                         const promptcache::PromptSet* tune, const SimulationOptions& options,
                         const promptcache::ProgressCallback& progress) {
  const auto embedder = promptcache::TransformerEmbedder::open(directory, options.embedder);
  const promptcache::StreamRunOptions run{options.cache, options.threads, progress,
                                          "fewer prompts (--limit), or a higher lowest threshold (--tau-from)"};
  ModelSimulation result;
  result.directory = directory;
  double tau = options.tau.value_or(1);
  if (tune != nullptr) {
    const promptcache::PromptVectors vectors = embed_prompts(*embedder, tune->texts, options.threads, progress);
    result.choice = sweep_shuffles(*tune, vectors, options.plan, options.taus, run);
    const StreamScore* best = promptcache::most_efficient(result.choice, options.at_worst);
    if (best == nullptr) {
      throw promptcache::Error(promptcache::ErrorCode::usage, {"--tune"}, "no two prompts that share a response",
                               "a stream in which a hit can be right, or --tau");
    }
    tau = best->tau;
  }
  const promptcache::PromptVectors vectors = embed_prompts(*embedder, scored.texts, options.threads, progress);
  result.truncated = vectors.truncated;
  if (options.curve) result.curve = sweep_shuffles(scored, vectors, options.plan, options.taus, run);
  result.score = replay_shuffles(scored, vectors, options.plan, tau, run);
  result.savings = savings_of(result.score, options);
  if (options.timings) {
    result.timing = time_stream(embedder, scored, stream_requests(scored.truth, options.plan, 0), tau, options.cache,
                                options.threads);
  }
  return result;
}

Simulation compare(const promptcache::PromptSet& scored, const SimulationOptions& options, ModelSimulation model,
                   std::optional<ModelSimulation> baseline) {
  Simulation result;
  result.prompts = scored.texts.size();
  result.components = scored.truth.components();
  result.contradictions = scored.truth.contradictions();
  result.model = std::move(model);
  result.baseline = std::move(baseline);
  if (result.baseline) result.difference = efficiency_difference(result.model.score, result.baseline->score);
  if (!result.model.score.efficiency) {
    result.notes.push_back(
        "The efficiency is undefined: no hit on this stream can be right, since no two prompts "
        "share a response and none comes twice.");
  }
  if (result.contradictions > 0) {
    result.notes.push_back(counted(result.contradictions, "pair of prompts is", "pairs of prompts are") +
                           " labelled 0 though positive pairs connect the two; a hit between just these two counts as "
                           "wrong.");
  }
  const auto note_model = [&](const char* name, const ModelSimulation& each) {
    if (each.truncated > 0) {
      result.notes.push_back(counted(each.truncated, "prompt is", "prompts are") + " longer than the window of the " +
                             name + " and took part in exact matches only.");
    }
    const StreamCounts& total = each.score.total;
    if (5 * total.unknown_hits > total.hits()) {
      result.notes.push_back(
          "Of the hits of the " + std::string(name) + " " +
          fixed(100 * static_cast<double>(total.unknown_hits) / static_cast<double>(total.hits()), 0) +
          " % are of unknown truth: no label speaks about them, so wrong hits are undercounted and a "
          "tau chosen on such a stream is too low (--at-worst takes them as wrong).");
    }
    if (!each.choice.empty() && each.score.tau == options.taus.front()) {
      result.notes.push_back(std::string("The tau of the ") + name +
                             " is the lowest that was tried; a lower --tau-from may give a better one.");
    }
  };
  note_model("model", result.model);
  if (result.baseline) note_model("baseline", *result.baseline);
  return result;
}

Json to_json(const Simulation& simulation, const SimulationOptions& options) {
  const promptcache::StreamPlan& plan = options.plan;
  Json json;
  json["prompts"] = simulation.prompts;
  json["components"] = simulation.components;
  json["shuffles"] = plan.shuffles;
  json["interval_method"] = "mean, 2.5 % and 97.5 % quantiles over shuffles";
  json["stream"] = {{"popularity", plan.popularity == promptcache::Popularity::zipf ? "zipf" : "uniform"},
                    {"requests", plan.requests},
                    {"again", plan.again},
                    {"seed", plan.seed},
                    {"capacity", options.cache.capacity},
                    {"eviction", options.cache.eviction == promptcache::Eviction::least_expected_cost ? "lec" : "lru"}};
  if (plan.popularity == promptcache::Popularity::zipf) {
    json["stream"]["zipf_exponent"] = plan.zipf_exponent;
    json["stream"]["drift"] = plan.drift;
  }
  json["model"] = json_of(simulation.model, options);
  json["baseline"] = simulation.baseline ? json_of(*simulation.baseline, options) : Json();
  json["difference"] = Json();
  if (simulation.difference) {
    json["difference"] = {{"efficiency", simulation.difference->value},
                          {"efficiency_low", simulation.difference->low},
                          {"efficiency_high", simulation.difference->high}};
  }
  if (!simulation.notes.empty()) json["notes"] = simulation.notes;
  return json;
}

std::string plan_text(const Simulation& simulation, const SimulationOptions& options) {
  const promptcache::StreamPlan& plan = options.plan;
  const double length = simulation.model.score.mean(&StreamCounts::requests);
  std::string text = fixed(length, 0) + " requests of " + std::to_string(simulation.prompts) + " prompts, " +
                     std::to_string(simulation.components) + " questions; ";
  if (plan.once_each()) {
    text += "each prompt once, in random order";
  } else if (plan.popularity == promptcache::Popularity::zipf) {
    text += "questions by Zipf's law, exponent " + trimmed(plan.zipf_exponent);
    if (plan.drift > 0) text += ", drift " + trimmed(plan.drift);
  } else {
    text += "prompts drawn, each as likely as the other";
  }
  if (plan.again > 0) text += ", then " + trimmed(100 * plan.again) + " % of them again";
  text += "; " + std::to_string(plan.shuffles) + (plan.shuffles == 1 ? " shuffle; " : " shuffles; ");
  if (options.cache.capacity == 0) return text + "a cache without bound";
  return text + "a cache of " + std::to_string(options.cache.capacity) + " entries, " +
         (options.cache.eviction == promptcache::Eviction::least_expected_cost ? "least expected cost"
                                                                               : "least recently used") +
         " goes first";
}

std::string table_text(const Simulation& simulation, const SimulationOptions& options) {
  std::string text = plan_text(simulation, options) + "\n";
  const ModelSimulation* baseline = simulation.baseline ? &*simulation.baseline : nullptr;
  char line[200];
  const auto row = [&](const char* measure, const std::string& model, const std::string& other) {
    std::snprintf(line, sizeof(line), "  %-30s %-26s %s", measure, model.c_str(), other.c_str());
    std::string row_text = line;
    row_text.erase(row_text.find_last_not_of(' ') + 1);
    text += row_text + "\n";
  };
  const auto both = [&](const char* measure, auto&& value_of) {
    row(measure, value_of(simulation.model), baseline != nullptr ? value_of(*baseline) : std::string());
  };
  const auto mean = [](std::size_t StreamCounts::*count) {
    return [count](const ModelSimulation& each) { return fixed(each.score.mean(count), 1); };
  };
  row("", "model", baseline != nullptr ? "baseline" : "");
  both("tau", [](const ModelSimulation& each) { return trimmed(each.score.tau); });
  both("efficiency, %", [](const ModelSimulation& each) { return percent_with_limits(each.score.efficiency); });
  both("  unknown hits taken as wrong",
       [](const ModelSimulation& each) { return percent_with_limits(each.score.efficiency_at_worst); });
  both("hit rate, %", [](const ModelSimulation& each) { return fixed(100 * each.score.total.hit_rate(), 2); });
  both("wrong hits, % of known hits",
       [](const ModelSimulation& each) { return percent(each.score.total.wrong_hit_rate()); });
  both("exact hits", mean(&StreamCounts::exact_hits));
  both("right hits by similarity", mean(&StreamCounts::right_hits));
  both("wrong hits", mean(&StreamCounts::wrong_hits));
  both("hits of unknown truth", mean(&StreamCounts::unknown_hits));
  both("hits that can be right", mean(&StreamCounts::possible_hits));
  if (options.cache.capacity > 0) both("evictions", mean(&StreamCounts::evictions));
  if (options.latency_ms || options.price) {
    both("calls saved", [](const ModelSimulation& each) {
      return fixed(each.savings.calls, 1) + " (" + fixed(100 * each.savings.share, 1) + " % of requests)";
    });
  }
  if (options.latency_ms) {
    both("seconds saved", [](const ModelSimulation& each) { return fixed(*each.savings.seconds, 1); });
  }
  if (options.price) both("cost saved", [](const ModelSimulation& each) { return trimmed(*each.savings.cost); });
  if (simulation.difference) row("efficiency, difference, %", percent_with_limits(simulation.difference), "");
  text += "  counts are means a shuffle; limits: 2.5 % and 97.5 % quantiles over shuffles\n";
  text += "  model: " + simulation.model.directory + "\n";
  if (baseline != nullptr) text += "  baseline: " + baseline->directory + "\n";
  for (const std::string& note : simulation.notes) text += "  note: " + note + "\n";
  if (simulation.model.timing) text += "model, served: " + timing_text(*simulation.model.timing);
  if (baseline != nullptr && baseline->timing) text += "baseline, served: " + timing_text(*baseline->timing);
  return text;
}

}  // namespace tool
