#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace promptcache {

/// Two prompts and the judgement whether one response serves both.
struct Pair {
  std::string q1;
  std::string q2;
  double label = 0;      ///< in [0, 1]; positive when >= 0.5; NaN for none, where labels are optional
  std::size_t line = 0;  ///< 1-based line of the file it came from

  bool positive() const noexcept { return label >= 0.5; }
};

/// A pair file with all its columns kept, so that tools can write rows back as they were.
struct PairFile {
  std::string path;
  std::vector<std::string> columns;            ///< names in file order
  std::vector<std::vector<std::string>> rows;  ///< cells of each pair, same order as `pairs`
  std::vector<Pair> pairs;

  /// Position of a column, or npos.
  std::size_t column(std::string_view name) const;
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
};

/// Whether each pair of a file must have a label.
enum class PairLabels { required, optional };

/// Reads TSV (header line with at least q1, q2, label; no quoting) or JSON lines with these keys, plain or gzip, told
/// apart by content. Throws `Error` with file and line: missing column, short row, an empty question, a label outside
/// [0, 1] or not a number, no pairs at all. With optional labels the column may be absent, and its cells empty.
PairFile read_pair_file(const std::string& path, PairLabels labels = PairLabels::required);

/// Writes TSV; tabs and line breaks inside cells become one space. Replaces the file atomically.
void write_pair_file(const std::string& path, const std::vector<std::string>& columns,
                     const std::vector<std::vector<std::string>>& rows);

}  // namespace promptcache
