// A greedy black-box attack: words are put behind a prompt until it lands on the key of another prompt that is cached.
//
//     suffix_attack --model DIR [--scorer DIR] --pairs FILE [--threshold X | --kept 0.9] [--victims 100]
//
// The attacker sees the score of every try, which is more than a server tells. Victims are first questions of positive
// pairs, attacking prompts first questions of other clusters. In each step every word of the victim's prompt and some
// words of other prompts are tried, and the best is kept. Without --threshold the one is taken that keeps this share of
// the positive pairs.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "embedder_flags.hpp"
#include "model_scores.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/hit_bound.hpp"
#include "promptcache/pairs/split.hpp"
#include "tool.hpp"

namespace {

using namespace promptcache;

struct Options {
  std::string model, scorer, pairs, json;
  std::optional<double> threshold;
  double kept = 0.9;
  std::size_t victims = 100, words = 24, steps = 8;
  std::uint64_t seed = 1;
  tool::EmbedderFlags embedder;
};

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

struct Attack {
  std::string victim, prompt;
  double score = 0;
  std::size_t steps = 0;
  bool landed = false;
};

/// Prompts of different clusters, each attacked and attacking once.
std::vector<Attack> choose(const PairFile& file, const Options& options, std::mt19937_64& random) {
  const std::vector<std::size_t> clusters = components_of(file.pairs);
  std::vector<std::string> prompts;
  for (const std::size_t pair : one_of_each_cluster(clusters, options.seed)) {
    if (file.pairs[pair].positive()) prompts.push_back(file.pairs[pair].q1);
  }
  std::shuffle(prompts.begin(), prompts.end(), random);
  if (prompts.size() < 2) {
    throw Error(ErrorCode::usage, {file.path}, std::to_string(prompts.size()) + " clusters with a positive pair",
                "at least two");
  }
  prompts.resize(std::min(prompts.size(), options.victims + 1));
  std::vector<Attack> attacks;
  for (std::size_t i = 0; i + 1 < prompts.size(); ++i) attacks.push_back({prompts[i], prompts[i + 1]});
  return attacks;
}

/// The score that a share of the positive pairs lies above.
double threshold_that_keeps(double share, const PairFile& file, const tool::ModelScores& scores) {
  PairFile positives;
  for (const Pair& pair : file.pairs) {
    if (pair.positive()) positives.pairs.push_back(pair);
  }
  std::vector<double> values = scores(positives, {}).values;
  std::sort(values.begin(), values.end(), std::greater<>());
  const auto last = static_cast<std::size_t>(share * static_cast<double>(values.size()));
  return std::nextafter(values[std::min(last, values.size() - 1)], -1e9);
}

int run(const Options& options) {
  const PairFile file = read_pair_file(options.pairs);
  const tool::ModelScores scores(options.model, options.embedder.options(), options.scorer);
  std::mt19937_64 random(options.seed);
  std::vector<Attack> attacks = choose(file, options, random);
  std::vector<std::string> others;
  for (const Pair& pair : file.pairs) {
    for (std::string& word : words_of(pair.q2)) others.push_back(std::move(word));
  }
  const double threshold = options.threshold ? *options.threshold : threshold_that_keeps(options.kept, file, scores);
  std::size_t landed_at_once = 0;
  for (std::size_t step = 0; step <= options.steps; ++step) {
    PairFile tries;
    std::vector<std::size_t> attack_of;
    const auto add = [&](std::size_t attack, std::string prompt) {
      tries.pairs.push_back({std::move(prompt), attacks[attack].victim, 0, 0});
      attack_of.push_back(attack);
    };
    for (std::size_t i = 0; i < attacks.size(); ++i) {
      if (attacks[i].landed) continue;
      if (step == 0) {
        add(i, attacks[i].prompt);
        continue;
      }
      std::set<std::string> words;
      for (const std::string& word : words_of(attacks[i].victim)) words.insert(word);
      while (words.size() < options.words) words.insert(others[random() % others.size()]);
      for (const std::string& word : words) add(i, attacks[i].prompt + " " + word);
    }
    if (tries.pairs.empty()) break;
    const std::vector<double> values = scores(tries, {}).values;
    std::vector<std::optional<std::size_t>> best(attacks.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::optional<std::size_t>& known = best[attack_of[i]];
      if (!known || values[i] > values[*known]) known = i;
    }
    for (std::size_t i = 0; i < attacks.size(); ++i) {
      if (!best[i]) continue;
      attacks[i].prompt = tries.pairs[*best[i]].q1;
      attacks[i].score = values[*best[i]];
      attacks[i].steps = step;
      attacks[i].landed = attacks[i].score > threshold;
    }
    if (step == 0) {
      for (const Attack& attack : attacks) landed_at_once += attack.landed ? 1 : 0;
    }
    std::fprintf(stderr, "after %zu words: %zu of %zu landed\n", step,
                 static_cast<std::size_t>(
                     std::count_if(attacks.begin(), attacks.end(), [](const Attack& attack) { return attack.landed; })),
                 attacks.size());
  }
  std::size_t landed = 0;
  double steps = 0;
  for (const Attack& attack : attacks) {
    landed += attack.landed ? 1 : 0;
    steps += attack.landed ? static_cast<double>(attack.steps) : 0;
  }
  const double bound = binomial_upper_bound(landed, attacks.size(), 0.95);
  std::printf(
      "threshold %.6g: %zu of %zu attacks landed (at most %.1f %%, 95 %%), %zu of them without a word; %.1f words "
      "on average\n",
      threshold, landed, attacks.size(), 100 * bound, landed_at_once,
      landed > 0 ? steps / static_cast<double>(landed) : 0.0);
  const auto worst = std::max_element(attacks.begin(), attacks.end(),
                                      [](const Attack& a, const Attack& b) { return a.score < b.score; });
  std::printf("best: \"%s\" for \"%s\", score %.4f\n", worst->prompt.c_str(), worst->victim.c_str(), worst->score);
  if (!options.json.empty()) {
    const nlohmann::ordered_json json = {
        {"threshold", threshold},    {"attacks", attacks.size()}, {"landed", landed},       {"upper_bound", bound},
        {"at_once", landed_at_once}, {"words", options.words},    {"steps", options.steps}, {"seed", options.seed}};
    write_file_atomically(options.json, json.dump(2) + "\n");
  }
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Words behind a prompt until it lands on another prompt's key.", "suffix_attack"};
  Options options;
  app.add_option("--model", options.model, "encoder or pair scorer directory")->required();
  app.add_option("--scorer", options.scorer, "pair scorer directory: attacks the cascade of the two");
  app.add_option("--pairs", options.pairs, "labelled pairs: prompts, and positive ones that have to be kept")
      ->required();
  app.add_option("--threshold", options.threshold, "hits are scores above it (default: from --kept)");
  app.add_option("--kept", options.kept, "share of the positive pairs above the threshold")->capture_default_str();
  app.add_option("--victims", options.victims, "number of attacks")->capture_default_str();
  app.add_option("--words", options.words, "tried in each step")->capture_default_str();
  app.add_option("--steps", options.steps, "words that an attacker adds at most")->capture_default_str();
  app.add_option("--seed", options.seed, "of the choice of prompts and words")->capture_default_str();
  options.embedder.add_to(app);
  app.add_option("--json", options.json, "write the outcome to this file");
  return tool::run(app, argc, argv, [&] { return run(options); });
}
