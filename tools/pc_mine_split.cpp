#include <array>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "pc_mine.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/pairs/split.hpp"
#include "tool.hpp"

namespace mine {
namespace {

using promptcache::Error;
using promptcache::ErrorCode;

struct Options {
  std::string pairs, out_dir, ratios = "7:1:2", json;
  std::uint64_t seed = 1;
};

constexpr std::array<const char*, 3> parts = {"train", "valid", "test"};

std::array<double, 3> parse_ratios(const std::string& text) {
  const char* wanted = "three numbers with colons between, as in 7:1:2";
  std::array<double, 3> ratios{};
  std::string_view rest = text;
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    const std::size_t end = i < 2 ? rest.find(':') : rest.size();
    if (end == std::string_view::npos) throw Error(ErrorCode::usage, {"--ratios"}, "'" + text + "'", wanted);
    ratios[i] = parse_number(ErrorCode::usage, {"--ratios"}, rest.substr(0, end), wanted);
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  return ratios;
}

/// The similarities that `pc-mine neighbours` wrote; none for a file without.
std::vector<double> similarities_of(const promptcache::PairFile& file) {
  const std::size_t column = file.column("similarity");
  std::vector<double> values;
  if (column == promptcache::PairFile::npos) return values;
  for (std::size_t i = 0; i < file.rows.size(); ++i) {
    values.push_back(
        parse_number(ErrorCode::format, {file.path, file.pairs[i].line}, file.rows[i][column], "a similarity"));
  }
  return values;
}

int split(const Options& options) {
  struct Part {
    std::vector<std::vector<std::string>> rows;
    std::size_t positives = 0;
  };
  const std::array<double, 3> ratios = parse_ratios(options.ratios);
  const promptcache::PairFile file = promptcache::read_pair_file(options.pairs);
  const std::vector<double> closeness = similarities_of(file);
  const auto sides = promptcache::split_by_question(file.pairs, ratios, options.seed, closeness);
  std::array<Part, 3> split;
  Part dropped;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    Part& part = sides[i] ? split[static_cast<std::size_t>(*sides[i])] : dropped;
    part.rows.push_back(file.rows[i]);
    if (file.pairs[i].positive()) ++part.positives;
  }
  for (std::size_t part = 0; part < parts.size(); ++part) {
    if (!split[part].rows.empty()) continue;
    throw Error(ErrorCode::usage, {"--ratios"},
                std::string(parts[part]) + " left without a pair by " + options.ratios + " of " +
                    std::to_string(file.pairs.size()) + " pairs",
                "a pair in each of train, valid and test; pairs that share questions stay together");
  }

  std::error_code status;
  std::filesystem::create_directories(options.out_dir, status);
  if (status) throw promptcache::system_error({options.out_dir}, status.value(), "a directory that can be created");
  nlohmann::ordered_json json = {{"pairs", file.pairs.size()}, {"ratios", options.ratios}, {"seed", options.seed}};
  for (std::size_t part = 0; part < parts.size(); ++part) {
    const std::string path = options.out_dir + "/" + parts[part] + ".tsv";
    promptcache::write_pair_file(path, file.columns, split[part].rows);
    std::cout << path << ": " << split[part].rows.size() << " pairs, " << split[part].positives << " positive\n";
    json[parts[part]] = {{"pairs", split[part].rows.size()}, {"positives", split[part].positives}};
  }
  if (!dropped.rows.empty()) {
    std::cout << "left out: " << dropped.rows.size() << " pairs, " << dropped.positives
              << " positive, between groups of questions that nearly all pairs link\n";
  }
  json["left_out"] = {{"pairs", dropped.rows.size()}, {"positives", dropped.positives}};
  if (!options.json.empty()) promptcache::write_file_atomically(options.json, json.dump(2) + "\n");
  return tool::done;
}

}  // namespace

Command add_split(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("split",
                         "train, valid and test such that no question is on two sides; pairs of a log that\n"
                         "all hang together are cut apart, and those left out are counted\n"
                         "Example: pc-mine split --pairs labelled.tsv --out-dir data --ratios 7:1:2");
  command->add_option("--pairs", options->pairs, "TSV or JSON lines with q1, q2, label; may be gzip")->required();
  command->add_option("--out-dir", options->out_dir, "directory for train.tsv, valid.tsv, test.tsv")->required();
  command->add_option("--ratios", options->ratios, "shares of the three; none may come out empty")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "seed of the deal")->capture_default_str();
  command->add_option("--json", options->json, "write the counts to this file");
  return {command, [options] { return split(*options); }};
}

}  // namespace mine
