#include "promptcache/pairs/pair_file.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "pairs/gzip_reader.hpp"
#include "pairs/lines.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::ordered_json;

constexpr double no_label = std::numeric_limits<double>::quiet_NaN();

double parse_label(const Where& where, std::string_view text) {
  double label = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (status != std::errc() || end != text.data() + text.size() || !(label >= 0 && label <= 1)) {
    throw Error(ErrorCode::format, where, "label " + in_quotes(text), "a number in [0, 1]");
  }
  return label;
}

/// Turns a row of cells into a pair; `where` is the row's line.
Pair make_pair_of(const PairFile& file, const std::vector<std::string>& cells, const Where& where, PairLabels labels) {
  Pair pair;
  pair.q1 = cells[file.column("q1")];
  pair.q2 = cells[file.column("q2")];
  if (pair.q1.empty() || pair.q2.empty()) {
    throw Error(ErrorCode::format, where, std::string("an empty ") + (pair.q1.empty() ? "q1" : "q2"), "a question");
  }
  const std::size_t label = file.column("label");
  const bool none = labels == PairLabels::optional && (label == PairFile::npos || cells[label].empty());
  pair.label = none ? no_label : parse_label(where, cells[label]);
  pair.line = where.line;
  return pair;
}

void check_columns(const PairFile& file, const Where& where, PairLabels labels) {
  for (const char* needed : {"q1", "q2", "label"}) {
    if (labels == PairLabels::optional && std::string_view(needed) == "label") continue;
    if (file.column(needed) == PairFile::npos) {
      throw Error(ErrorCode::format, where, "columns " + joined(file.columns),
                  std::string("a column '") + needed + "'");
    }
  }
  for (std::size_t i = 0; i < file.columns.size(); ++i) {
    if (file.column(file.columns[i]) != i) {
      throw Error(ErrorCode::format, where, "column '" + file.columns[i] + "' twice", "each column once");
    }
  }
}

void read_tsv(PairFile& file, Lines lines, PairLabels labels) {
  file.columns = split_cells(*lines.next());
  check_columns(file, {file.path, 1}, labels);
  while (const auto line = lines.next()) {
    if (line->empty()) continue;
    const Where where{file.path, lines.number()};
    std::vector<std::string> cells = split_cells(*line);
    if (cells.size() != file.columns.size()) {
      throw Error(ErrorCode::format, where, std::to_string(cells.size()) + " cells",
                  std::to_string(file.columns.size()) + " as in the header");
    }
    file.pairs.push_back(make_pair_of(file, cells, where, labels));
    file.rows.push_back(std::move(cells));
  }
}

std::string cell_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

void read_json_lines(PairFile& file, Lines lines, PairLabels labels) {
  while (const auto line = lines.next()) {
    if (line->find_first_not_of(" \t") == std::string_view::npos) continue;
    const Where where{file.path, lines.number()};
    const Json row = Json::parse(*line, nullptr, false);
    if (!row.is_object()) throw Error(ErrorCode::format, where, in_quotes(*line), "a JSON object");
    for (const char* key : {"q1", "q2"}) {
      if (!row.contains(key) || !row[key].is_string()) {
        throw Error(ErrorCode::format, where, in_quotes(*line), std::string("a text under the key '") + key + "'");
      }
    }
    const bool none = labels == PairLabels::optional && (!row.contains("label") || row["label"].is_null());
    if (!none && (!row.contains("label") || !row["label"].is_number())) {
      throw Error(ErrorCode::format, where, row.contains("label") ? "label " + row["label"].dump() : "no label",
                  "a number in [0, 1] under the key 'label'");
    }
    // The first object names the columns; later ones may add some.
    for (const auto& [key, value] : row.items()) {
      if (file.column(key) != PairFile::npos) continue;
      file.columns.push_back(key);
      for (auto& cells : file.rows) cells.emplace_back();
    }
    std::vector<std::string> cells;
    for (const std::string& name : file.columns) cells.push_back(row.contains(name) ? cell_of(row[name]) : "");
    if (none && file.column("label") != PairFile::npos) cells[file.column("label")].clear();  // "null" is no label
    file.pairs.push_back(make_pair_of(file, cells, where, labels));
    file.rows.push_back(std::move(cells));
  }
}

}  // namespace

std::size_t PairFile::column(std::string_view name) const {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] == name) return i;
  }
  return npos;
}

PairFile read_pair_file(const std::string& path, PairLabels labels) {
  PairFile file;
  file.path = path;
  const std::string content = read_maybe_gzip(path);
  std::string_view text = content;
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) {
    throw Error(ErrorCode::format, {path}, "an empty file", "a header line with q1, q2, label");
  }
  if (text[first] == '{') {
    read_json_lines(file, Lines(text), labels);
  } else {
    read_tsv(file, Lines(text), labels);
  }
  if (file.pairs.empty()) throw Error(ErrorCode::format, {path}, "no pairs", "at least one pair");
  return file;
}

void write_pair_file(const std::string& path, const std::vector<std::string>& columns,
                     const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  const auto add_row = [&text](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) text += '\t';
      for (char c : cells[i]) text += c == '\t' || c == '\n' || c == '\r' ? ' ' : c;
    }
    text += '\n';
  };
  add_row(columns);
  for (const auto& row : rows) add_row(row);
  write_file_atomically(path, text);
}

}  // namespace promptcache
