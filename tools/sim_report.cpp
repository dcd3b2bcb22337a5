#include "sim_report.hpp"

#include <algorithm>
#include <cmath>

#include "numbers.hpp"

namespace tool {
namespace {

using promptcache::StreamCounts;
using promptcache::StreamScore;

Table summary_table(const Simulation& simulation) {
  Table table{{"", "model"}, {}};
  const ModelSimulation* baseline = simulation.baseline ? &*simulation.baseline : nullptr;
  if (baseline != nullptr) table.columns.push_back("baseline");
  const auto both = [&](const char* measure, auto&& value_of) {
    table.rows.push_back({measure, value_of(simulation.model)});
    if (baseline != nullptr) table.rows.back().push_back(value_of(*baseline));
  };
  both("threshold tau", [](const ModelSimulation& each) { return trimmed(each.score.tau); });
  both("caching efficiency, %", [](const ModelSimulation& each) { return percent_with_limits(each.score.efficiency); });
  both("efficiency if unknown hits were wrong, %",
       [](const ModelSimulation& each) { return percent_with_limits(each.score.efficiency_at_worst); });
  both("hit rate, %", [](const ModelSimulation& each) { return fixed(100 * each.score.total.hit_rate(), 2); });
  both("wrong hits, % of hits of known truth",
       [](const ModelSimulation& each) { return percent(each.score.total.wrong_hit_rate()); });
  if (simulation.model.score.total.exact_hits > 0) {
    both("wrong hits, % of known hits by similarity",
         [](const ModelSimulation& each) { return percent(each.score.total.wrong_semantic_hit_rate()); });
  }
  return table;
}

/// Counts a shuffle, and their share of the requests.
Table kinds_table(const Simulation& simulation, const SimulationOptions& options) {
  Table table{{"requests that were", "model", "%"}, {}};
  const ModelSimulation* baseline = simulation.baseline ? &*simulation.baseline : nullptr;
  if (baseline != nullptr) table.columns.insert(table.columns.end(), {"baseline", "%"});
  const auto row = [&](const char* name, auto&& count_of) {
    std::vector<std::string> cells = {name};
    const auto add = [&](const ModelSimulation& each) {
      const auto shuffles = static_cast<double>(each.score.shuffles.size());
      const auto count = static_cast<double>(count_of(each.score.total));
      cells.push_back(fixed(count / shuffles, 1));
      cells.push_back(fixed(100 * count / static_cast<double>(each.score.total.requests), 2));
    };
    add(simulation.model);
    if (baseline != nullptr) add(*baseline);
    table.rows.push_back(std::move(cells));
  };
  row("exact hits", [](const StreamCounts& counts) { return counts.exact_hits; });
  row("right hits by similarity", [](const StreamCounts& counts) { return counts.right_hits; });
  row("wrong hits", [](const StreamCounts& counts) { return counts.wrong_hits; });
  row("hits of unknown truth", [](const StreamCounts& counts) { return counts.unknown_hits; });
  row("misses", [](const StreamCounts& counts) { return counts.misses(); });
  row("hits that can be right, at most", [](const StreamCounts& counts) { return counts.possible_hits; });
  if (options.cache.capacity > 0) row("evictions", [](const StreamCounts& counts) { return counts.evictions; });
  return table;
}

Table savings_table(const Simulation& simulation, const SimulationOptions& options) {
  Table table{{"saved, a shuffle", "model"}, {}};
  const ModelSimulation* baseline = simulation.baseline ? &*simulation.baseline : nullptr;
  if (baseline != nullptr) table.columns.push_back("baseline");
  const auto both = [&](const char* measure, auto&& value_of) {
    table.rows.push_back({measure, value_of(simulation.model.savings)});
    if (baseline != nullptr) table.rows.back().push_back(value_of(baseline->savings));
  };
  both("calls", [](const Savings& savings) { return fixed(savings.calls, 1); });
  both("calls, % of requests", [](const Savings& savings) { return fixed(100 * savings.share, 2); });
  if (options.latency_ms) both("seconds", [](const Savings& savings) { return fixed(savings.seconds, 1); });
  if (options.price) both("cost", [](const Savings& savings) { return trimmed(savings.cost.value_or(0)); });
  return table;
}

Table timing_table(const Simulation& simulation) {
  Table table{{"lookups", "model: count", "p50, us", "p99, us"}, {}};
  const bool baseline = simulation.baseline && simulation.baseline->timing;
  if (baseline) table.columns.insert(table.columns.end(), {"baseline: count", "p50, us", "p99, us"});
  const auto row = [&](const char* name, LookupTimes StreamTiming::*kind) {
    std::vector<std::string> cells = {name};
    const auto add = [&](const LookupTimes& times) {
      cells.push_back(std::to_string(times.count));
      cells.push_back(fixed(times.p50_us, 1));
      cells.push_back(fixed(times.p99_us, 1));
    };
    add((*simulation.model.timing).*kind);
    if (baseline) add((*simulation.baseline->timing).*kind);
    table.rows.push_back(std::move(cells));
  };
  row("exact hits", &StreamTiming::exact);
  row("hits by similarity", &StreamTiming::semantic);
  row("misses", &StreamTiming::miss);
  return table;
}

/// The lowest efficiency that is worth a place: far below zero all thresholds are equally bad.
double lowest_shown(const Simulation& simulation) {
  double lowest = 0;
  const auto look = [&](const ModelSimulation& each) {
    for (const StreamScore& score : each.curve) {
      if (score.efficiency) lowest = std::min(lowest, 100 * score.efficiency->low);
    }
  };
  look(simulation.model);
  if (simulation.baseline) look(*simulation.baseline);
  return std::max(-40.0, std::floor(lowest / 10) * 10);
}

Plot efficiency_plot(const Simulation& simulation, const SimulationOptions& options) {
  Plot plot("threshold tau", "efficiency, %");
  plot.set("set xrange [" + trimmed(options.taus.front()) + ":1]");
  plot.set("set yrange [" + trimmed(lowest_shown(simulation)) + ":*]");
  plot.guide("0");
  const auto add = [&](const ModelSimulation& each, Ink ink, const char* title, bool dashed) {
    Plot::Rows band;
    Plot::Rows line;
    for (const StreamScore& score : each.curve) {
      if (!score.efficiency) continue;
      band.push_back({score.tau, 100 * score.efficiency->low, 100 * score.efficiency->high});
      line.push_back({score.tau, 100 * score.efficiency->value});
    }
    plot.band(band, ink).line(line, ink, title, dashed);
    if (each.score.efficiency) {
      plot.points({{each.score.tau, 100 * each.score.efficiency->value}}, ink, std::string(title) + ", at its tau");
    }
  };
  if (simulation.baseline) add(*simulation.baseline, Ink::baseline, "baseline", true);
  add(simulation.model, Ink::model, "model", false);
  return plot;
}

Plot wrong_hits_plot(const Simulation& simulation) {
  Plot plot("hit rate, %", "wrong hits, % of known hits");
  plot.set("set yrange [0:*]");
  plot.set("set xrange [0:*]");
  const auto add = [&](const ModelSimulation& each, Ink ink, const char* title, bool dashed) {
    Plot::Rows line;
    for (const StreamScore& score : each.curve) {
      if (const auto rate = score.total.wrong_hit_rate()) {
        line.push_back({100 * score.total.hit_rate(), 100 * *rate});
      }
    }
    plot.line(line, ink, title, dashed);
    if (const auto rate = each.score.total.wrong_hit_rate()) {
      plot.points({{100 * each.score.total.hit_rate(), 100 * *rate}}, ink, std::string(title) + ", at its tau");
    }
  };
  if (simulation.baseline) add(*simulation.baseline, Ink::baseline, "baseline", true);
  add(simulation.model, Ink::model, "model", false);
  return plot;
}

}  // namespace

Page simulation_page(const Simulation& simulation, const SimulationOptions& options, const Provenance& provenance) {
  Page page("What a cache does with a stream of prompts");
  page.paragraph(plan_text(simulation, options) + ".");
  page.table(summary_table(simulation));
  if (simulation.difference) {
    page.paragraph("Efficiency of the model less that of the baseline, on the same shuffles: " +
                   percent_with_limits(simulation.difference) + " percentage points.");
  }
  page.paragraph(
      "In brackets: 2.5 % and 97.5 % quantiles over the shuffles. They say how much the order of these prompts "
      "matters, "
      "not what other prompts would give.");
  for (const std::string& note : simulation.notes) page.paragraph("Note: " + note);

  page.section("What became of the requests");
  page.table(kinds_table(simulation, options));
  page.paragraph(
      "Means a shuffle. A hit is right when positive labels connect both prompts or the cluster is the same, wrong "
      "when a "
      "label of 0 links them or their questions or the clusters differ, and of unknown truth when no label says; those "
      "count neither as right nor as wrong. The very prompt again is right. Efficiency: (exact and right hits - wrong "
      "hits) / hits that can be right.");
  if (options.latency_ms || options.price) {
    page.section("What it saves");
    page.table(savings_table(simulation, options));
    std::string text = "A hit spares one call of the language model";
    if (options.latency_ms) text += " of " + trimmed(*options.latency_ms) + " ms";
    if (options.price)
      text += std::string(options.latency_ms ? " and" : " of") + " a price of " + trimmed(*options.price);
    text += "; a wrong hit costs " + trimmed(options.wrong_hit_cost) +
            " calls. Hits of unknown truth count as spared. What the lookups take is not subtracted.";
    page.paragraph(text);
  }
  if (simulation.model.timing) {
    page.section("How long lookups take");
    page.table(timing_table(simulation));
    page.paragraph("The first shuffle, the encoder included, asked by " +
                   counted(simulation.model.timing->threads, "thread", "threads") + "; misses answered at once.");
  }
  if (!simulation.model.curve.empty()) {
    page.section("Over thresholds");
    page.figure(efficiency_plot(simulation, options),
                "Efficiency over tau on this stream, with its quantiles over the shuffles. The best tau of this very "
                "curve would be too good to be true: choose it on another stream.");
    page.figure(wrong_hits_plot(simulation), "The price of a hit rate: wrong hits among the hits of known truth.");
  }
  provenance.add_to(page);
  return page;
}

}  // namespace tool
