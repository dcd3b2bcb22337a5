#include "promptcache/eval/prompt_clusters.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/random.hpp"
#include "pairs/gzip_reader.hpp"
#include "pairs/lines.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

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

/// Position of a column in a header line.
std::size_t column_in(const std::vector<std::string>& names, const std::string& wanted, const Where& where) {
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  throw Error(ErrorCode::format, where, "columns " + in_quotes(joined(names)), "a column '" + wanted + "'");
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
  Lines lines(content);
  PromptClusters result;
  Collector collector(result);
  Where where{path, 0};
  std::size_t columns = 0;
  std::size_t prompt_at = 0;
  std::size_t cluster_at = 0;
  std::optional<bool> json;  // known from the first line with anything in it
  while (const std::optional<std::string_view> line = lines.next()) {
    where.line = lines.number();
    const std::size_t first = line->find_first_not_of(" \t");
    if (first == std::string_view::npos) continue;
    if (!json) json = (*line)[first] == '{';
    if (*json) {
      const nlohmann::json row = nlohmann::json::parse(*line, nullptr, false);
      if (!row.is_object()) throw Error(ErrorCode::format, where, in_quotes(*line), "a JSON object");
      if (row.contains(prompt_column) && !row[prompt_column].is_string()) {
        throw Error(ErrorCode::format, where, in_quotes(*line), "a text under the key '" + prompt_column + "'");
      }
      collector.add(where, text_under(row, prompt_column, where), text_under(row, cluster_column, where));
      continue;
    }
    const std::vector<std::string> cells = split_cells(*line);
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
    collector.add(where, cells[prompt_at], cells[cluster_at]);
  }
  if (!json) {
    throw Error(ErrorCode::format, {path}, "an empty file",
                "a header line with " + prompt_column + " and " + cluster_column);
  }
  if (result.texts.empty()) throw Error(ErrorCode::format, {path}, "no prompts", "at least one prompt");
  return result;
}

PromptSet prompts_of_clusters(const PromptClusters& clusters, std::size_t most, std::uint64_t seed) {
  std::vector<std::size_t> taken(clusters.texts.size());
  std::iota(taken.begin(), taken.end(), std::size_t{0});
  if (most > 0 && taken.size() > most) {
    std::mt19937_64 random = base::generator(seed, 0);
    base::shuffle(taken, random);
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
