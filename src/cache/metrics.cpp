#include "cache/metrics.hpp"

#include <algorithm>
#include <cstdio>

namespace promptcache {
namespace cache {

std::size_t metric_part() noexcept {
  static std::atomic<std::size_t> threads{0};
  thread_local const std::size_t part = threads.fetch_add(1, std::memory_order_relaxed) % metric_parts;
  return part;
}

void SharedHistogram::add(std::chrono::nanoseconds time) {
  const double seconds = std::chrono::duration<double>(time).count();
  const auto place = std::lower_bound(Histogram::bounds.begin(), Histogram::bounds.end(), seconds);
  Part& part = parts_[metric_part()];
  part.counts[static_cast<std::size_t>(place - Histogram::bounds.begin())].fetch_add(1, std::memory_order_relaxed);
  part.nanoseconds.fetch_add(static_cast<std::uint64_t>(time.count()), std::memory_order_relaxed);
}

Histogram SharedHistogram::read() const {
  Histogram result;
  for (const Part& part : parts_) {
    for (std::size_t i = 0; i < part.counts.size(); ++i) result.counts[i] += part.counts[i];
    result.seconds += static_cast<double>(part.nanoseconds) * 1e-9;
  }
  return result;
}

void Metrics::time(const Timings& timings) {
  const auto add = [](SharedHistogram& histogram, std::chrono::nanoseconds time) {
    if (time.count() > 0) histogram.add(time);
  };
  add(exact, timings.exact);
  add(embed, timings.embed);
  add(search, timings.search);
  add(score, timings.score);
  add(decide, timings.decide);
}

CacheStats Metrics::read() const {
  CacheStats stats;
  stats.lookups = lookups;
  stats.exact_hits = exact_hits;
  stats.semantic_hits = semantic_hits;
  stats.coalesced = coalesced;
  for (std::size_t i = 0; i < misses.size(); ++i) {
    stats.misses_by_reason[i] = misses[i];
    stats.misses += stats.misses_by_reason[i];
  }
  stats.inserts = inserts;
  stats.evictions = evictions;
  stats.expirations = expirations;
  stats.invalidations = invalidations;
  stats.dropped = dropped;
  stats.failures = failures;
  stats.timeouts = timeouts;
  stats.rejections = rejections;
  stats.wrong_hits = wrong_hits;
  stats.pair_scores = pair_scores;
  stats.pair_scores_skipped = pair_scores_skipped;
  stats.lookup = lookup.read();
  stats.exact = exact.read();
  stats.embed = embed.read();
  stats.search = search.read();
  stats.score = score.read();
  stats.decide = decide.read();
  stats.insert = insert.read();
  return stats;
}

}  // namespace cache

namespace {

/// Writes metrics in Prometheus' text format.
class Page {
 public:
  explicit Page(const std::string& labels) : labels_(labels) {}

  void head(const char* name, const char* kind, const char* help) {
    text += "# HELP promptcache_" + std::string(name) + " " + help + "\n";
    text += "# TYPE promptcache_" + std::string(name) + " " + kind + "\n";
  }
  void line(const std::string& name, const std::string& label, const std::string& value) {
    text += "promptcache_" + name;
    const std::string labels = labels_ + (labels_.empty() || label.empty() ? "" : ",") + label;
    if (!labels.empty()) text += "{" + labels + "}";
    text += " " + value + "\n";
  }
  void count(const char* name, const char* kind, const char* help, std::uint64_t value) {
    head(name, kind, help);
    line(name, "", std::to_string(value));
  }

  std::string text;

 private:
  const std::string& labels_;
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

}  // namespace

std::string to_prometheus(const CacheStats& stats, const std::string& labels) {
  Page page(labels);
  page.count("lookups_total", "counter", "Lookups begun.", stats.lookups);
  page.head("hits_total", "counter", "Lookups answered from an earlier response, by kind.");
  page.line("hits_total", "kind=\"exact\"", std::to_string(stats.exact_hits));
  page.line("hits_total", "kind=\"semantic\"", std::to_string(stats.semantic_hits));
  page.line("hits_total", "kind=\"coalesced\"", std::to_string(stats.coalesced));
  page.head("misses_total", "counter", "Lookups not answered, by reason.");
  for (std::size_t i = 0; i < reason_count; ++i) {
    const auto reason = static_cast<Reason>(i);
    if (reason == Reason::exact_match || reason == Reason::similar) continue;  // of hits only
    page.line("misses_total", "reason=\"" + std::string(to_string(reason)) + "\"",
              std::to_string(stats.misses_by_reason[i]));
  }
  page.count("inserts_total", "counter", "Responses stored.", stats.inserts);
  page.head("removals_total", "counter", "Entries removed, by cause.");
  page.line("removals_total", "cause=\"eviction\"", std::to_string(stats.evictions));
  page.line("removals_total", "cause=\"expiry\"", std::to_string(stats.expirations));
  page.line("removals_total", "cause=\"invalidation\"", std::to_string(stats.invalidations));
  page.count("dropped_total", "counter", "Responses not stored: invalidated meanwhile, or too large.", stats.dropped);
  page.count("failures_total", "counter", "Failures of embedder, index, pair scorer, policy or store.", stats.failures);
  page.count("timeouts_total", "counter", "Lookups and inserts that did not end in time.", stats.timeouts);
  page.count("rejections_total", "counter", "Of these, not begun because too many hang.", stats.rejections);
  page.count("wrong_hits_total", "counter", "Hits reported as wrong.", stats.wrong_hits);
  page.head("pair_scores_total", "counter", "Pairs for the pair scorer, by whether there was time to ask it.");
  page.line("pair_scores_total", "asked=\"yes\"", std::to_string(stats.pair_scores));
  page.line("pair_scores_total", "asked=\"no\"", std::to_string(stats.pair_scores_skipped));
  page.count("stuck", "gauge", "Calls with a timeout that hang now.", stats.stuck);
  page.count("entries", "gauge", "Entries stored.", stats.entries);
  page.count("bytes", "gauge", "Memory accounted for entries.", stats.bytes);
  page.count("scopes", "gauge", "Scopes with an index.", stats.scopes);
  page.count("to_re_embed", "gauge", "Entries of another embedder that wait for their vector.", stats.to_re_embed);
  page.head("stage_seconds", "histogram", "Time of the parts of a lookup, and of an insert.");
  const std::pair<const char*, const Histogram*> stages[] = {
      {"lookup", &stats.lookup}, {"exact", &stats.exact},   {"embed", &stats.embed},  {"search", &stats.search},
      {"score", &stats.score},   {"decide", &stats.decide}, {"insert", &stats.insert}};
  for (const auto& [name, histogram] : stages) {
    const std::string stage = "stage=\"" + std::string(name) + "\"";
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < histogram->counts.size(); ++i) {
      sum += histogram->counts[i];
      const std::string bound = i < Histogram::bounds.size() ? number(Histogram::bounds[i]) : "+Inf";
      page.line("stage_seconds_bucket", stage + ",le=\"" + bound + "\"", std::to_string(sum));
    }
    page.line("stage_seconds_sum", stage, number(histogram->seconds));
    page.line("stage_seconds_count", stage, std::to_string(sum));
  }
  return page.text;
}

}  // namespace promptcache
