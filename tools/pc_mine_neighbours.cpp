#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "embedder_flags.hpp"
#include "interrupt.hpp"
#include "pc_mine.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/embed/bulk.hpp"
#include "promptcache/pairs/neighbours.hpp"
#include "promptcache/pairs/prompt_log.hpp"
#include "tool.hpp"

namespace mine {
namespace {

using promptcache::Error;
using promptcache::ErrorCode;
using promptcache::PromptFormat;
using promptcache::PromptMerge;

struct Options {
  std::string model, prompts, out, json, band, format = "automatic", merge = "exact";
  promptcache::PromptLogOptions log;
  promptcache::BandOptions sample;  // its ends come from `band`
  std::size_t k = 3, random = 0, memory = 64;
  bool graph = false, earlier = false, dry_run = false;
  std::uint64_t seed = 1;
  tool::EmbedderFlags embedder;
};

class Stopwatch {
 public:
  /// Seconds since the last call, or the making.
  double lap() {
    const Clock::time_point now = Clock::now();
    return std::chrono::duration<double>(now - std::exchange(began_, now)).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point began_ = Clock::now();
};

std::size_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

std::string rounded(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string mebibytes(std::size_t bytes) { return rounded("%.0f MiB", static_cast<double>(bytes) / (1 << 20)); }

void parse_band(Options& options) {
  const promptcache::Where where{"--band"};
  const std::string wanted = "two similarities with a comma between, the lower one first, as in 0.7,0.95";
  const std::size_t comma = options.band.find(',');
  if (comma == std::string::npos) throw Error(ErrorCode::usage, where, "'" + options.band + "'", wanted);
  const std::string_view text = options.band;
  options.sample.low = parse_number(ErrorCode::usage, where, text.substr(0, comma), wanted);
  options.sample.high = parse_number(ErrorCode::usage, where, text.substr(comma + 1), wanted);
  if (!(options.sample.low <= options.sample.high && options.sample.low >= -1 && options.sample.high <= 1)) {
    throw Error(ErrorCode::usage, where, "'" + options.band + "'", wanted);
  }
}

/// Mistakes that would come to light only after the embedding.
void check(Options& options, const promptcache::PromptLog& log) {
  const std::size_t distinct = log.prompts.size();
  const std::string size = std::to_string(distinct) + " distinct prompts";
  if (distinct < 2) {
    throw Error(ErrorCode::format, {log.path},
                "one distinct prompt, " + std::to_string(log.prompts[0].count) + " times",
                "at least two: one has no neighbour");
  }
  const bool nearest = options.band.empty() && options.random == 0 && !options.earlier;
  if (nearest && options.k >= distinct) {
    throw Error(ErrorCode::usage, {"--k"}, std::to_string(options.k) + " neighbours in a log of " + size,
                "at most " + std::to_string(distinct - 1));
  }
  if (options.random > promptcache::pair_count(distinct)) {
    throw Error(ErrorCode::usage, {"--random"}, std::to_string(options.random) + " pairs of " + size,
                "at most " + std::to_string(promptcache::pair_count(distinct)));
  }
  if (options.sample.max_pairs < options.sample.strata) {
    throw Error(ErrorCode::usage, {"--max-pairs"}, std::to_string(options.sample.max_pairs),
                "at least one for each of " + std::to_string(options.sample.strata) + " strata");
  }
  for (const std::string& path : {options.out, options.json}) {
    if (path.empty() || options.dry_run) continue;
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
      throw Error(ErrorCode::access, {path}, "a directory", "a file to write");
    }
    if (std::filesystem::equivalent(path, log.path, ignored)) {
      throw Error(ErrorCode::usage, {path}, "the prompt log", "another file to write");
    }
    promptcache::AtomicFile probe(path);  // throws when it is not writable
  }
}

std::string describe(const promptcache::PromptLog& log) {
  std::string text = log.path + " (" + to_string(log.format) + (log.column.empty() ? "" : ", column " + log.column) +
                     "): " + std::to_string(log.read) + " prompts, " + std::to_string(log.prompts.size()) + " distinct";
  if (log.empty > 0) text += ", " + std::to_string(log.empty) + " empty lines skipped";
  if (log.too_long > 0) text += ", " + std::to_string(log.too_long) + " too long ones skipped (--max-bytes)";
  if (log.responses > 0) text += ", " + std::to_string(log.responses) + " distinct responses";
  if (log.repaired > 0) text += ", " + std::to_string(log.repaired) + " with invalid UTF-8 repaired";
  return text;
}

/// Says what is to come, from a few prompts and a small search on this machine.
void print_estimate(const Options& options, const promptcache::TransformerEmbedder& embedder,
                    const std::vector<std::string_view>& texts, const promptcache::PairSearchOptions& search) {
  std::vector<std::string_view> some;
  const std::size_t count = std::min<std::size_t>(texts.size(), 128 * options.embedder.threads);
  for (std::size_t i = 0; i < count; ++i) some.push_back(texts[i * texts.size() / count]);
  std::vector<float> vectors(some.size() * embedder.dimension());
  promptcache::embed_all(embedder, std::span(some).first(1), 1, std::span(vectors).first(embedder.dimension()));
  Stopwatch watch;
  promptcache::embed_all(embedder, some, options.embedder.threads, std::span(vectors));
  const double prompts_per_second = static_cast<double>(some.size()) / std::max(1e-6, watch.lap());
  const promptcache::SearchCost cost = promptcache::nearest_cost(texts.size(), embedder.dimension(), options.k, search);
  const double rate = promptcache::measure_search_rate(embedder.dimension(), search);

  std::cerr << "estimate: embedding " << rounded("%.0f s", static_cast<double>(texts.size()) / prompts_per_second)
            << rounded(" (%.0f prompts/s", prompts_per_second) << " in " << to_string(embedder.precision()) << ")";
  std::size_t memory = cost.memory;
  if (options.random == 0) {
    std::cerr << "; exact search " << rounded("%.3g GFLOP", cost.gflop) << rounded(", %.0f s", cost.gflop / rate)
              << rounded(" (%.0f GFLOP/s)", rate);
    if (options.graph) {
      std::cerr << ", not done: the graph is for logs where this is too long";
      memory += promptcache::graph_memory(texts.size(), embedder.dimension());
    }
  }
  std::cerr << "; " << mebibytes(memory) << " beside the model and the prompts" << std::endl;
}

struct Found {
  std::vector<promptcache::PromptPair> pairs;
  std::vector<float> next, agreement;  // of earlier pairs
  std::optional<std::uint64_t> in_band;
  std::optional<promptcache::GraphPairs> graph;  // without the pairs
};

Found search(const Options& options, const promptcache::PromptLog& log, const promptcache::PromptVectors& vectors,
             const promptcache::PairSearchOptions& how) {
  constexpr std::size_t recall_sample = 500;
  Found found;
  if (options.random > 0) {
    found.pairs = promptcache::random_pairs(vectors, options.random, options.seed);
  } else if (!options.band.empty()) {
    promptcache::BandOptions band = options.sample;
    band.seed = options.seed;
    promptcache::BandPairs result = promptcache::band_pairs(vectors, band, how);
    found.pairs = std::move(result.pairs);
    found.in_band = result.in_band;
  } else if (options.earlier) {
    std::vector<std::uint32_t> responses;
    for (const promptcache::Prompt& prompt : log.prompts) responses.push_back(prompt.response);
    if (log.responses == 0) responses.clear();
    promptcache::EarlierPairs result = promptcache::earlier_pairs(vectors, how, responses);
    found.pairs = std::move(result.pairs);
    found.next = std::move(result.next);
    found.agreement = std::move(result.agreement);
  } else if (options.graph) {
    found.graph = promptcache::graph_pairs(vectors, options.k, recall_sample, options.seed, how);
    found.pairs = std::move(found.graph->pairs);
  } else {
    found.pairs = promptcache::nearest_pairs(vectors, options.k, how);
  }
  return found;
}

std::string summary(const Options& options, const promptcache::PromptLog& log, const Found& found) {
  std::string text = options.out + ": " + std::to_string(found.pairs.size()) + " pairs of " +
                     std::to_string(log.prompts.size()) + " distinct prompts";
  if (!found.pairs.empty()) {
    const auto [low, high] =
        std::minmax_element(found.pairs.begin(), found.pairs.end(),
                            [](const auto& a, const auto& b) { return a.similarity < b.similarity; });
    text += rounded(", similarity %.3f", static_cast<double>(low->similarity)) +
            rounded(" to %.3f", static_cast<double>(high->similarity));
  }
  if (found.in_band) text += "; " + std::to_string(*found.in_band) + " pairs are in the band";
  if (found.graph) {
    text += rounded("; recall %.4f", found.graph->recall) + " of the exact neighbours of " +
            std::to_string(found.graph->sampled) + " prompts";
  }
  return text;
}

int neighbours(Options& options) {
  if (!options.band.empty()) parse_band(options);
  if (options.out.empty() && !options.dry_run) {
    throw Error(ErrorCode::usage, {"--out"}, "nothing", "a file to write, or --dry-run");
  }
  tool::catch_interrupts();
  Stopwatch watch;
  options.log.format = options.format == "tsv"     ? PromptFormat::tsv
                       : options.format == "json"  ? PromptFormat::json_lines
                       : options.format == "lines" ? PromptFormat::lines
                                                   : PromptFormat::automatic;
  options.log.merge = options.merge == "normalized" ? PromptMerge::normalized : PromptMerge::exact;
  const promptcache::PromptLog log = promptcache::read_prompt_log(options.prompts, options.log);
  std::cerr << describe(log) << std::endl;
  check(options, log);
  const double read_seconds = watch.lap();

  const auto embedder = promptcache::TransformerEmbedder::open(options.model, options.embedder.options());
  tool::ProgressBar bar;
  const promptcache::PairSearchOptions how{.threads = options.embedder.threads,
                                           .block_bytes = options.memory << 20,
                                           .progress = tool::interruptible(bar.callback())};
  std::vector<std::string_view> texts;
  for (const promptcache::Prompt& prompt : log.prompts) texts.push_back(prompt.text);
  print_estimate(options, *embedder, texts, how);
  if (options.dry_run) return tool::done;
  const double open_seconds = watch.lap();

  std::vector<float> values(texts.size() * embedder->dimension());
  const promptcache::BulkReport report =
      promptcache::embed_all(*embedder, texts, options.embedder.threads, std::span(values), how.progress);
  const double embed_seconds = watch.lap();
  if (report.truncated > 0) {
    bar.finish();
    std::cerr << report.truncated << " prompts are longer than " << embedder->max_tokens()
              << " tokens: only their beginning was compared" << std::endl;
  }
  const Found found = search(options, log, {values, embedder->dimension()}, how);
  const double search_seconds = watch.lap();
  std::vector<promptcache::PairColumn> more;
  if (!found.next.empty()) more.push_back({"next_similarity", found.next});
  if (!found.agreement.empty()) more.push_back({"agreement", found.agreement});
  promptcache::write_prompt_pairs(options.out, log, found.pairs, more, how.progress);
  const double write_seconds = watch.lap();
  bar.finish();
  std::cout << summary(options, log, found) << "\n";
  std::cout << rounded("read %.1f s", read_seconds) << rounded(", model and estimate %.1f s", open_seconds)
            << rounded(", embedding %.1f s", embed_seconds) << rounded(", search %.1f s", search_seconds)
            << rounded(", writing %.1f s", write_seconds) << "; at most " << mebibytes(peak_memory()) << " of memory\n";
  if (!options.json.empty()) {
    nlohmann::ordered_json json = {{"prompts", log.read},
                                   {"distinct", log.prompts.size()},
                                   {"skipped", log.empty + log.too_long},
                                   {"skipped_empty", log.empty},
                                   {"skipped_too_long", log.too_long},
                                   {"repaired", log.repaired},
                                   {"truncated", report.truncated},
                                   {"precision", to_string(embedder->precision())},
                                   {"pairs", found.pairs.size()}};
    if (found.in_band) json["in_band"] = *found.in_band;
    if (found.graph) json["graph"] = {{"recall", found.graph->recall}, {"sampled", found.graph->sampled}};
    json["seconds"] = {{"read", read_seconds},
                       {"open", open_seconds},
                       {"embed", embed_seconds},
                       {"search", search_seconds},
                       {"write", write_seconds}};
    json["peak_memory_bytes"] = peak_memory();
    promptcache::write_file_atomically(options.json, json.dump(2) + "\n");
  }
  return tool::done;
}

void add_search_flags(CLI::App& command, Options& options) {
  CLI::Option* k = command.add_option("--k", options.k, "neighbours of each prompt")
                       ->capture_default_str()
                       ->check(CLI::Range(1, 10'000));
  CLI::Option* band =
      command.add_option("--band", options.band, "LOW,HIGH: instead, all pairs of such a similarity")->excludes(k);
  command.add_option("--max-pairs", options.sample.max_pairs, "of a band with more pairs, a random sample of so many")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000'000))
      ->needs(band);
  command.add_option("--strata", options.sample.strata, "parts of the band, each with an equal share of --max-pairs")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000))
      ->needs(band);
  CLI::Option* random = command.add_option("--random", options.random, "instead, so many random pairs")
                            ->check(CLI::Range(1, 1'000'000'000))
                            ->excludes(k)
                            ->excludes(band);
  CLI::Option* graph =
      command
          .add_flag("--graph", options.graph,
                    "search a graph instead of comparing all pairs: for logs of a million; prints the recall")
          ->excludes(band)
          ->excludes(random);
  command
      .add_flag("--earlier", options.earlier,
                "instead, each prompt with the nearest of those before it in the log, as a cache would find it: pairs "
                "as deployed, for pc-calibrate; adds the column next_similarity, and agreement if the log has a column "
                "response")
      ->excludes(k)
      ->excludes(band)
      ->excludes(random)
      ->excludes(graph);
  command.add_option("--seed", options.seed, "seed of whatever is drawn")->capture_default_str();
  command.add_option("--memory", options.memory, "MiB for the blocks of similarities in work")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
}

}  // namespace

Command add_neighbours(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "neighbours",
      "pairs of similar prompts of a log, to be labelled; TSV with q1, q2, similarity, count1, count2\n"
      "Example: pc-mine neighbours --model models/all-MiniLM-L6-v2 --prompts log.jsonl.gz --k 3 --out pairs.tsv");
  command->add_option("--model", options->model, "model directory")->required();
  command
      ->add_option("--prompts", options->prompts,
                   "TSV with a header, JSON lines, or a prompt a line; may be gzip; a column 'count' is added up")
      ->required();
  command->add_option("--out", options->out, "TSV file to write");
  command->add_option("--column", options->log.column,
                      "column or key of the prompts (default: prompt, text, query or question)");
  command->add_option("--format", options->format, "automatic (by content), tsv, json or lines")
      ->capture_default_str()
      ->check(CLI::IsMember({"automatic", "tsv", "json", "lines"}));
  command
      ->add_option(
          "--merge", options->merge,
          "prompts that count as one: exact, or normalized (letter case, white space, punctuation at the ends)")
      ->capture_default_str()
      ->check(CLI::IsMember({"exact", "normalized"}));
  command->add_option("--limit", options->log.limit, "only the first so many prompts of the file");
  command->add_option("--max-bytes", options->log.max_bytes, "longer prompts are skipped")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000'000));
  add_search_flags(*command, *options);
  // As a server would run it: which pairs are near hardly hangs on the precision, and `select --model` computes the
  // similarity anew.
  options->embedder.precision = "automatic";
  options->embedder.add_to(*command);
  command->add_flag("--dry-run", options->dry_run, "only read the log and say what the work would take");
  command->add_option("--json", options->json, "write counts, seconds of each step and peak memory to this file");
  return {command, [options] {
            try {
              return neighbours(*options);
            } catch (const tool::Interrupted& interrupted) {
              std::cerr << "\npc-mine: " << interrupted.what() << std::endl;
              return static_cast<int>(tool::interrupted);
            }
          }};
}

}  // namespace mine
