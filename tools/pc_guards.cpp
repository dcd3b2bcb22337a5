#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "embedder_flags.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/guard_precision.hpp"
#include "promptcache/pairs/similarity.hpp"
#include "tool.hpp"

namespace {

using promptcache::GuardAction;
using promptcache::GuardCount;
using promptcache::GuardFinding;
using promptcache::GuardOptions;
using promptcache::GuardPrecision;
using promptcache::Guards;
using promptcache::GuardStrength;
using promptcache::Pair;

struct Options {
  std::string list, model, show, json;
  std::vector<std::string> pairs, prompts;
  std::optional<double> similar_above;
  std::size_t examples = 20;
  bool positives = true;
  tool::EmbedderFlags embedder;
};

std::shared_ptr<const Guards> open_guards(const Options& options) {
  return options.list.empty() ? Guards::english() : Guards::open(options.list);
}

/// What the guards say about two prompts.
int check(const Options& options) {
  const auto guards = open_guards(options);
  for (const GuardFinding& finding : guards->check(options.prompts[0], options.prompts[1])) {
    std::printf("%-5s %-8s  %s\n", finding.veto ? "veto" : "flag", to_string(finding.strength), finding.reason.c_str());
  }
  return tool::done;
}

std::vector<Pair> read_pairs(const Options& options) {
  std::vector<Pair> pairs;
  for (const std::string& path : options.pairs) {
    const std::vector<Pair> more = promptcache::read_pair_file(path).pairs;
    pairs.insert(pairs.end(), more.begin(), more.end());
  }
  if (!options.similar_above) return pairs;
  const auto embedder = promptcache::TransformerEmbedder::open(options.model, options.embedder.options());
  tool::ProgressBar bar;
  const auto similarities =
      promptcache::pair_similarities(*embedder, pairs, options.embedder.threads, bar.callback()).values;
  bar.finish();
  std::vector<Pair> similar;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (similarities[i] > *options.similar_above) similar.push_back(pairs[i]);
  }
  return similar;
}

/// Throws unless `--show` names what guards can find.
void check_show(const std::string& show) {
  if (show.empty() || show == "veto") return;
  for (std::size_t i = 0; i < promptcache::guard_kind_count; ++i) {
    const std::string kind = to_string(static_cast<promptcache::GuardKind>(i));
    for (const char* ending : {"", "/missing", "/replaced"}) {
      if (show == kind + ending) return;
    }
  }
  throw promptcache::Error(promptcache::ErrorCode::usage, {"--show"}, "'" + show + "'",
                           "a kind, a kind with its strength as in number/replaced, or veto");
}

/// Pairs on which a kind fired, with its reason: the positive ones would be vetoed in error.
void show_examples(const Options& options, const Guards& guards, const std::vector<Pair>& pairs) {
  std::size_t shown = 0;
  for (const Pair& pair : pairs) {
    if (pair.positive() != options.positives) continue;
    for (const GuardFinding& finding : guards.check(pair.q1, pair.q2)) {
      const std::string name = to_string(finding.kind);
      if (options.show != name && options.show != name + "/" + to_string(finding.strength) &&
          !(options.show == "veto" && finding.veto)) {
        continue;
      }
      std::printf("%zu [%s] %s\n  %s\n  %s\n", pair.line, to_string(finding.strength), finding.reason.c_str(),
                  pair.q1.c_str(), pair.q2.c_str());
      if (++shown >= options.examples) return;
      break;
    }
  }
}

void print_row(const char* kind, const char* strength, const char* action, const GuardCount& count, std::size_t pairs) {
  std::printf("%-14s %-9s %-5s %8zu %8zu %8.1f%% %9.3f", kind, strength, action, count.negatives, count.positives,
              100.0 * static_cast<double>(count.fired()) / static_cast<double>(pairs), count.precision());
  std::printf(count.fired() == 0 ? "       -\n" : "  >= %.3f\n", count.precision_bound(0.95));
}

nlohmann::ordered_json json_of(const GuardCount& count) {
  return {{"negatives", count.negatives},
          {"positives", count.positives},
          {"precision", count.precision()},
          {"precision_bound_95", count.precision_bound(0.95)}};
}

int measure(const Options& options) {
  check_show(options.show);
  const std::vector<Pair> pairs = read_pairs(options);
  if (pairs.empty()) {
    throw promptcache::Error(promptcache::ErrorCode::usage, {"--similar-above"}, "no pair above it", "one at least");
  }
  const auto guards = open_guards(options);
  if (!options.show.empty()) {
    show_examples(options, *guards, pairs);
    return tool::done;
  }
  const GuardPrecision result = promptcache::guard_precision(*guards, pairs);
  std::printf("%zu pairs, %.1f %% of them negative: what a guard has to beat\n\n", pairs.size(),
              100 * result.pairs.precision());
  std::printf("%-14s %-9s %-5s %8s %8s %9s %9s  %s\n", "kind", "strength", "", "negative", "positive", "fires on",
              "precision", "95 % bound");
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const GuardPrecision::Row& row : result.rows) {
    const char* action = to_string(guards->options().action(row.kind, row.strength));
    nlohmann::ordered_json json = {
        {"kind", to_string(row.kind)}, {"strength", to_string(row.strength)}, {"action", action}};
    json.update(json_of(row.count));
    rows.push_back(std::move(json));
    if (row.count.fired() == 0) continue;
    print_row(to_string(row.kind), to_string(row.strength), action, row.count, pairs.size());
  }
  print_row("any", "", "", result.any, pairs.size());
  print_row("vetoed", "", "", result.vetoed, pairs.size());
  if (!options.json.empty()) {
    const nlohmann::ordered_json json = {{"pairs", json_of(result.pairs)},
                                         {"guards", std::move(rows)},
                                         {"any", json_of(result.any)},
                                         {"vetoed", json_of(result.vetoed)}};
    promptcache::write_file_atomically(options.json, json.dump(1) + "\n");
  }
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Guards: why one response might not serve two similar prompts, and how often they are right on labelled pairs.\n"
      "  pc-guards --prompts \"enable 2FA\" \"disable 2FA\"\n"
      "  pc-guards --pairs valid.tsv --similar-above 0.8 --model models/all-MiniLM-L6-v2\n"
      "  pc-guards --pairs train.tsv --show number/replaced"};
  Options options;
  auto* pairs = app.add_option("--pairs", options.pairs, "pair files: TSV or JSON lines with q1, q2, label");
  app.add_option("--prompts", options.prompts, "two prompts to compare")->expected(2)->excludes(pairs);
  app.add_option("--list", options.list, "word lists of one's own, in the format of data/guards/en.txt");
  auto* model = app.add_option("--model", options.model, "model directory for --similar-above");
  app.add_option("--similar-above", options.similar_above, "only pairs whose cosine is above it")
      ->needs(model)
      ->check(CLI::Range(-1.0, 1.0));
  app.add_option("--show", options.show, "print pairs with a finding of KIND, KIND/STRENGTH or veto")->needs(pairs);
  app.add_option("--examples", options.examples, "how many to print")->capture_default_str();
  app.add_flag("--positives,!--negatives", options.positives,
               "show positive pairs (false vetoes, default) or negative");
  app.add_option("--json", options.json, "write the table as JSON")->needs(pairs);
  options.embedder.add_to(app);
  return tool::run(app, argc, argv, [&] {
    if (!options.prompts.empty()) return check(options);
    if (options.pairs.empty()) throw CLI::RequiredError("--pairs or --prompts");
    return measure(options);
  });
}
