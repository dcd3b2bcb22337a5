#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <iostream>

#include "embedder_flags.hpp"
#include "progress_bar.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/embed/transformer_embedder.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/pairs/select.hpp"
#include "promptcache/pairs/similarity.hpp"
#include "promptcache/pairs/split.hpp"
#include "tool.hpp"

namespace {

using promptcache::Error;
using promptcache::ErrorCode;
using promptcache::PairFile;

struct Options {
  std::string pairs, out_dir, ratios = "7:1:2", out, model;
  std::uint64_t seed = 1;
  tool::EmbedderFlags embedder;
};

double parse_number(const promptcache::Where& where, std::string_view text, const std::string& wanted) {
  double value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) {
    throw Error(ErrorCode::format, where, "'" + std::string(text) + "'", wanted);
  }
  return value;
}

std::array<double, 3> parse_ratios(const std::string& text) {
  const char* wanted = "three numbers with colons between, as in 7:1:2";
  std::array<double, 3> ratios{};
  std::string_view rest = text;
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    const std::size_t end = i < 2 ? rest.find(':') : rest.size();
    if (end == std::string_view::npos) throw Error(ErrorCode::usage, {"--ratios"}, "'" + text + "'", wanted);
    ratios[i] = parse_number({"--ratios"}, rest.substr(0, end), wanted);
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  return ratios;
}

int split(const Options& options) {
  const PairFile file = promptcache::read_pair_file(options.pairs);
  const std::vector<promptcache::Side> sides =
      promptcache::split_by_component(file.pairs, parse_ratios(options.ratios), options.seed);
  std::error_code status;
  std::filesystem::create_directories(options.out_dir, status);
  if (status) throw promptcache::system_error({options.out_dir}, status.value(), "a directory that can be created");
  constexpr const char* names[] = {"train.tsv", "valid.tsv", "test.tsv"};
  for (std::size_t side = 0; side < 3; ++side) {
    std::vector<std::vector<std::string>> rows;
    std::size_t positives = 0;
    for (std::size_t i = 0; i < sides.size(); ++i) {
      if (static_cast<std::size_t>(sides[i]) != side) continue;
      rows.push_back(file.rows[i]);
      if (file.pairs[i].positive()) ++positives;
    }
    const std::string path = options.out_dir + "/" + names[side];
    promptcache::write_pair_file(path, file.columns, rows);
    std::cout << path << ": " << rows.size() << " pairs, " << positives << " positive\n";
  }
  return tool::done;
}

int select(const Options& options) {
  PairFile file = promptcache::read_pair_file(options.pairs);
  std::size_t column = file.column("similarity");
  std::vector<double> similarities;
  if (!options.model.empty()) {
    const auto embedder = promptcache::TransformerEmbedder::open(options.model, options.embedder.options());
    tool::ProgressBar bar;
    similarities = pair_similarities(*embedder, file.pairs, options.embedder.threads, bar.callback()).values;
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
  } else if (column != PairFile::npos) {
    for (std::size_t i = 0; i < file.rows.size(); ++i) {
      similarities.push_back(
          parse_number({file.path, file.pairs[i].line}, file.rows[i][column], "a number in the column 'similarity'"));
    }
  } else {
    throw Error(ErrorCode::usage, {file.path}, "no column 'similarity'", "that column, or --model to compute it");
  }

  std::vector<double> labels;
  for (const promptcache::Pair& pair : file.pairs) labels.push_back(pair.label);
  std::vector<std::vector<std::string>> rows;
  std::vector<double> kept;
  std::vector<std::uint8_t> positive;
  for (std::size_t i : promptcache::select_boundary(similarities, labels)) {
    rows.push_back(file.rows[i]);
    kept.push_back(similarities[i]);
    positive.push_back(file.pairs[i].positive() ? 1 : 0);
  }
  promptcache::write_pair_file(options.out, file.columns, rows);
  std::cout << options.out << ": " << rows.size() << " of " << file.pairs.size() << " pairs";
  const double auc = promptcache::roc_auc(kept, positive);
  if (auc == auc) {
    std::cout << ", similarity " << kept.front() << " to " << kept.back() << ", its AUC on them " << auc
              << " (about 0.5 by construction)";
  }
  std::cout << "\n";
  return tool::done;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Makes training and evaluation sets from labelled pairs.\n"
      "Split first, then select inside each side: the other order leaks.",
      "pc-mine"};
  app.require_subcommand(1);
  Options options;
  CLI::App* split_command = app.add_subcommand("split", "train, valid and test such that no question is on two sides");
  split_command->add_option("--pairs", options.pairs, "TSV or JSON lines with q1, q2, label; may be gzip")->required();
  split_command->add_option("--out-dir", options.out_dir, "directory for train.tsv, valid.tsv, test.tsv")->required();
  split_command->add_option("--ratios", options.ratios, "shares of the three")->capture_default_str();
  split_command->add_option("--seed", options.seed, "seed of the deal")->capture_default_str();
  CLI::App* select_command = app.add_subcommand(
      "select",
      "the boundary slice: pairs with alternating labels by rising similarity, hard for the model that scored");
  select_command->add_option("--pairs", options.pairs, "TSV or JSON lines with q1, q2, label; may be gzip")->required();
  select_command->add_option("--out", options.out, "TSV file to write; all columns are kept")->required();
  select_command->add_option("--model", options.model,
                             "model directory that computes the column 'similarity' (default: use the column)");
  options.embedder.add_to(*select_command);
  return tool::run(app, argc, argv, [&] { return split_command->parsed() ? split(options) : select(options); });
}
