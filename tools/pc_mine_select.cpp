#include <charconv>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "embedder_flags.hpp"
#include "interrupt.hpp"
#include "pc_mine.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/pairs/select.hpp"
#include "promptcache/pairs/similarity.hpp"
#include "tool.hpp"

namespace mine {
namespace {

using promptcache::Error;
using promptcache::ErrorCode;
using promptcache::PairFile;

struct Options {
  std::string pairs, out, model, json, method = "boundary";
  std::size_t strata = 20;
  std::uint64_t seed = 1;
  tool::EmbedderFlags embedder;
};

/// From the column 'similarity', or from the model, which fills or adds that column.
std::vector<double> similarities_of(PairFile& file, const Options& options) {
  std::size_t column = file.column("similarity");
  std::vector<double> similarities;
  if (options.model.empty()) {
    if (column == PairFile::npos) {
      throw Error(ErrorCode::usage, {file.path}, "no column 'similarity'", "that column, or --model to compute it");
    }
    for (std::size_t i = 0; i < file.rows.size(); ++i) {
      similarities.push_back(parse_number(ErrorCode::format, {file.path, file.pairs[i].line}, file.rows[i][column],
                                          "a number in the column 'similarity'"));
    }
    return similarities;
  }
  const auto embedder = promptcache::TransformerEmbedder::open(options.model, options.embedder.options());
  tool::ProgressBar bar;
  similarities =
      pair_similarities(*embedder, file.pairs, options.embedder.threads, tool::interruptible(bar.callback())).values;
  bar.finish();
  if (column == PairFile::npos) {
    column = file.columns.size();
    file.columns.push_back("similarity");
    for (auto& cells : file.rows) cells.emplace_back();
  }
  for (std::size_t i = 0; i < similarities.size(); ++i) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof(text), similarities[i]).ptr;
    file.rows[i][column].assign(text, end);
  }
  return similarities;
}

int select(const Options& options) {
  PairFile file = promptcache::read_pair_file(options.pairs);
  promptcache::require_both_labels(file);
  tool::catch_interrupts();
  const std::vector<double> similarities = similarities_of(file, options);
  std::vector<double> labels;
  std::vector<std::uint8_t> all_positive;
  for (const promptcache::Pair& pair : file.pairs) {
    labels.push_back(pair.label);
    all_positive.push_back(pair.positive() ? 1 : 0);
  }
  const bool stratified = options.method == "stratified";
  const std::vector<std::size_t> positions =
      stratified ? promptcache::select_stratified(similarities, labels, options.strata, options.seed)
                 : promptcache::select_boundary(similarities, labels);
  if (positions.empty()) {
    throw Error(ErrorCode::format, {file.path},
                "no part of the range with both labels in " + std::to_string(options.strata) + " strata",
                "fewer --strata, or --method boundary");
  }

  std::vector<std::vector<std::string>> rows;
  std::vector<double> kept;
  std::vector<std::uint8_t> positive;
  for (const std::size_t i : positions) {
    rows.push_back(file.rows[i]);
    kept.push_back(similarities[i]);
    positive.push_back(all_positive[i]);
  }
  promptcache::write_pair_file(options.out, file.columns, rows);
  const double auc = promptcache::roc_auc(kept, positive);
  const double auc_before = promptcache::roc_auc(similarities, all_positive);
  const auto positives = static_cast<std::size_t>(std::count(positive.begin(), positive.end(), 1));
  std::cout << options.out << ": " << rows.size() << " of " << file.pairs.size() << " pairs, " << positives
            << " positive, similarity " << kept.front() << " to " << kept.back() << "\n"
            << "AUC of the similarity: " << auc_before << " on all pairs, " << auc
            << " on these. About 0.5 by construction: the selection forces it and says nothing about the model.\n";
  if (!options.json.empty()) {
    nlohmann::ordered_json json = {{"method", options.method},
                                   {"pairs", file.pairs.size()},
                                   {"kept", rows.size()},
                                   {"kept_positives", positives},
                                   {"similarity_low", kept.front()},
                                   {"similarity_high", kept.back()},
                                   {"auc_all", auc_before},
                                   {"auc_kept", auc},
                                   {"auc_kept_is", "about 0.5 by construction"}};
    if (stratified) {
      json["strata"] = options.strata;
      json["seed"] = options.seed;
    }
    promptcache::write_file_atomically(options.json, json.dump(2) + "\n");
  }
  return tool::done;
}

}  // namespace

Command add_select(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "select",
      "labelled pairs that are hard for the model that scored them\n"
      "boundary: labels alternate by rising similarity. stratified: as many of each label in each part of the range,\n"
      "more pairs and more of the range. Either forces that model's AUC to about 0.5 on what is kept: a starting AUC "
      "of\n"
      "0.5 is made by the selection, it is no finding about the model.\n"
      "Example: pc-mine select --model models/all-MiniLM-L6-v2 --pairs train.tsv --out hard.tsv");
  command->add_option("--pairs", options->pairs, "TSV or JSON lines with q1, q2, label; may be gzip")->required();
  command->add_option("--out", options->out, "TSV file to write; all columns are kept")->required();
  command->add_option("--model", options->model,
                      "model directory that computes the column 'similarity' (default: use the column)");
  command->add_option("--method", options->method, "boundary or stratified")
      ->capture_default_str()
      ->check(CLI::IsMember({"boundary", "stratified"}));
  command->add_option("--strata", options->strata, "stratified: parts of the range, with equally many pairs each")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  command->add_option("--seed", options->seed, "stratified: seed of which pairs of the larger class stay")
      ->capture_default_str();
  command->add_option("--json", options->json, "write the counts to this file");
  options->embedder.add_to(*command);
  return {command, [options] {
            try {
              return select(*options);
            } catch (const tool::Interrupted& interrupted) {
              std::cerr << "\npc-mine: " << interrupted.what() << std::endl;
              return static_cast<int>(tool::interrupted);
            }
          }};
}

}  // namespace mine
