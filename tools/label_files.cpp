#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "label_report.hpp"
#include "promptcache/base/error.hpp"

namespace tool {
namespace {

using promptcache::LabelResult;
using promptcache::Pair;
using promptcache::PairFile;
using promptcache::PairLabel;

std::string number_text(double value) {
  if (std::isnan(value)) return "";
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

/// Rows whose columns are found by name and added when they are missing.
class Table {
 public:
  explicit Table(const PairFile& file) : columns(file.columns), rows(file.rows) {}

  std::size_t column(const std::string& name) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (columns[i] == name) return i;
    }
    columns.push_back(name);
    for (auto& row : rows) row.emplace_back();
    return columns.size() - 1;
  }
  template <class Value>
  void fill(const std::string& name, Value&& value) {
    const std::size_t place = column(name);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i][place] = value(i);
  }

  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

}  // namespace

std::size_t write_labelled(const PairFile& file, const LabelResult& result, const LabelColumns& columns,
                           const std::string& out) {
  Table table(file);
  if (const std::size_t before = file.column("label"); before != PairFile::npos) {
    table.fill("label_before", [&](std::size_t i) { return file.rows[i][before]; });
  }
  table.fill("label", [&](std::size_t i) { return number_text(result.labels[i].label); });
  if (columns.both_orders) {
    table.fill("label_forward", [&](std::size_t i) { return number_text(result.labels[i].forward); });
    table.fill("label_reverse", [&](std::size_t i) { return number_text(result.labels[i].reverse); });
  }
  table.fill("label_model", [&](std::size_t) { return columns.model; });
  table.fill("label_prompt", [&](std::size_t) { return columns.prompt_version; });

  std::vector<std::vector<std::string>> labelled, unanswered;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const PairLabel& label = result.labels[i];
    if (label.state == PairLabel::State::answered) {
      labelled.push_back(std::move(table.rows[i]));
    } else {
      std::vector<std::string> row = file.rows[i];
      row.emplace_back(to_string(label.state));
      row.push_back(label.reason);
      unanswered.push_back(std::move(row));
    }
  }
  const std::string unanswered_path = out + ".unanswered.tsv";
  if (unanswered.empty()) {
    std::filesystem::remove(unanswered_path);  // of an earlier run that had some
  } else {
    std::vector<std::string> names = file.columns;
    names.insert(names.end(), {"unanswered", "reason"});
    promptcache::write_pair_file(unanswered_path, names, unanswered);
  }
  promptcache::write_pair_file(out, table.columns, labelled);
  return unanswered.size();
}

std::vector<double> human_labels(const std::vector<Pair>& pairs, const std::vector<Pair>& judged) {
  struct Votes {
    double sum = 0;
    std::size_t count = 0;
  };
  const auto key = [](const Pair& pair) { return std::minmax(pair.q1, pair.q2); };
  std::map<std::pair<std::string, std::string>, Votes> votes;
  for (const Pair& pair : judged) {
    if (std::isnan(pair.label)) continue;
    Votes& of = votes[key(pair)];
    of.sum += pair.label;
    ++of.count;
  }
  std::vector<double> labels;
  for (const Pair& pair : pairs) {
    const auto found = votes.find(key(pair));
    labels.push_back(found == votes.end() ? std::numeric_limits<double>::quiet_NaN()
                                          : found->second.sum / static_cast<double>(found->second.count));
  }
  return labels;
}

std::vector<double> similarity_column(const PairFile& file) {
  const std::size_t column = file.column("similarity");
  std::vector<double> similarities;
  if (column == PairFile::npos) return similarities;
  for (std::size_t i = 0; i < file.rows.size(); ++i) {
    const std::string& cell = file.rows[i][column];
    double value = 0;
    const auto [end, status] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (status != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value)) {
      throw promptcache::Error(promptcache::ErrorCode::format, {file.path, file.pairs[i].line}, "'" + cell + "'",
                               "a number in the column 'similarity'");
    }
    similarities.push_back(value);
  }
  return similarities;
}

}  // namespace tool
