#include "promptcache/eval/prompt_clusters.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "eval/random.hpp"
#include "pairs/gzip_reader.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 60;
  return "'" + std::string(text.substr(0, longest)) + (text.size() > longest ? "...'" : "'");
}

class Collector {
 public:
  explicit Collector(PromptClusters& result) : result_(result) {}
  void add(const Where& where, const std::string& prompt, const std::string& cluster) {
    if (prompt.empty()) throw Error(ErrorCode::format, where, "an empty prompt", "a prompt");
    if (cluster.empty()) throw Error(ErrorCode::format, where, "an empty cluster", "the name of a cluster");
    const std::size_t number = clusters_.try_emplace(cluster, clusters_.size()).first->second;
    const auto [place, fresh] = texts_.try_emplace(prompt, result_.texts.size());
    if (fresh) {
      result_.texts.push_back(prompt);
      result_.clusters.push_back(number);
    } else if (result_.clusters[place->second] != number) {
      ++result_.conflicts;
    }
  }

 private:
  PromptClusters& result_;
  std::unordered_map<std::string, std::size_t> clusters_;
  std::unordered_map<std::string, std::size_t> texts_;
};

std::vector<std::string_view> split_tabs(std::string_view line) {
  std::vector<std::string_view> cells;
  for (;;) {
    const std::size_t end = line.find('\t');
    cells.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return cells;
    line.remove_prefix(end + 1);
  }
}

/// Position of a column in a header line.
std::size_t column_in(const std::vector<std::string_view>& names, const std::string& wanted, const Where& where) {
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  std::string all;
  for (const std::string_view name : names) all += (all.empty() ? "" : ", ") + std::string(name);
  throw Error(ErrorCode::format, where, "columns " + in_quotes(all), "a column '" + wanted + "'");
}

std::string text_under(const nlohmann::json& row, const std::string& key, const Where& where) {
  const auto found = row.find(key);
  if (found == row.end()) throw Error(ErrorCode::format, where, in_quotes(row.dump()), "the key '" + key + "'");
  return found->is_string() ? found->get<std::string>() : found->dump();  // a cluster may be a number
}

}  // namespace

PromptClusters read_prompt_clusters(const std::string& path, const std::string& prompt_column,
                                    const std::string& cluster_column) {
  const std::string content = read_maybe_gzip(path);
  std::string_view rest = content;
  if (rest.substr(0, 3) == "\xef\xbb\xbf") rest.remove_prefix(3);
  const std::size_t first = rest.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) {
    throw Error(ErrorCode::format, {path}, "an empty file",
                "a header line with " + prompt_column + " and " + cluster_column);
  }
  const bool json = rest[first] == '{';
  PromptClusters result;
  Collector collector(result);
  Where where{path, 0};
  std::size_t columns = 0;
  std::size_t prompt_at = 0;
  std::size_t cluster_at = 0;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    ++where.line;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    if (json) {
      const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
      if (!row.is_object()) throw Error(ErrorCode::format, where, in_quotes(line), "a JSON object");
      if (row.contains(prompt_column) && !row[prompt_column].is_string()) {
        throw Error(ErrorCode::format, where, in_quotes(line), "a text under the key '" + prompt_column + "'");
      }
      collector.add(where, text_under(row, prompt_column, where), text_under(row, cluster_column, where));
      continue;
    }
    const std::vector<std::string_view> cells = split_tabs(line);
    if (columns == 0) {
      columns = cells.size();
      prompt_at = column_in(cells, prompt_column, where);
      cluster_at = column_in(cells, cluster_column, where);
      continue;
    }
    if (cells.size() != columns) {
      throw Error(ErrorCode::format, where, std::to_string(cells.size()) + " cells",
                  std::to_string(columns) + " as in the header");
    }
    collector.add(where, std::string(cells[prompt_at]), std::string(cells[cluster_at]));
  }
  if (result.texts.empty()) throw Error(ErrorCode::format, {path}, "no prompts", "at least one prompt");
  return result;
}

PromptSet prompts_of_clusters(const PromptClusters& clusters, std::size_t most, std::uint64_t seed) {
  std::vector<std::size_t> taken(clusters.texts.size());
  std::iota(taken.begin(), taken.end(), std::size_t{0});
  if (most > 0 && taken.size() > most) {
    std::mt19937_64 random = eval::generator(seed, 0);
    eval::shuffle(taken, random);
    taken.resize(most);
    std::sort(taken.begin(), taken.end());
  }
  PromptSet set;
  std::vector<std::size_t> numbers;
  for (const std::size_t at : taken) {
    set.texts.push_back(clusters.texts[at]);
    numbers.push_back(clusters.clusters[at]);
  }
  set.truth = PromptTruth::from_clusters(numbers);
  return set;
}

}  // namespace promptcache
