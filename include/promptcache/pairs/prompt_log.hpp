#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace promptcache {

/// How the prompts stand in a file.
enum class PromptFormat : std::uint8_t {
  automatic,   ///< whichever of the others the content shows, see `read_prompt_log`
  tsv,         ///< a header line, cells between tabs, no quoting
  json_lines,  ///< an object a line
  lines,       ///< a prompt a line
};

/// "automatic", "tsv", "json", "lines".
const char* to_string(PromptFormat format) noexcept;

/// Which prompts of a log are one and the same.
enum class PromptMerge : std::uint8_t {
  exact,       ///< equal texts, white space at both ends aside
  normalized,  ///< texts with one `normalized_question`: letter case, white space and punctuation at the ends aside
};

struct PromptLogOptions {
  std::string column = {};  ///< column or key of the prompts; empty: prompt, text, query or question, the first there
  PromptFormat format = PromptFormat::automatic;
  PromptMerge merge = PromptMerge::exact;
  std::size_t limit = 0;               ///< reads so many prompts, repeated ones included; 0: all
  std::size_t max_bytes = 64U * 1024;  ///< longer prompts are skipped: no encoder's window reaches so far
};

struct Prompt {
  std::string text;         ///< as it first came, cleaned as described below
  std::uint64_t count = 1;  ///< how often it came
  std::size_t line = 0;     ///< 1-based line where it came first
  /// Of the response that came with it first: counted from 1, the same number for the same text; 0: none is told.
  std::uint32_t response = 0;
};

struct PromptLog {
  std::string path;
  PromptFormat format = PromptFormat::lines;  ///< never automatic
  std::string column;                         ///< where the prompts were; empty for lines
  std::vector<Prompt> prompts;                ///< distinct ones, in order of first appearance
  std::size_t read = 0;                       ///< lines with a prompt that was taken
  std::size_t empty = 0;                      ///< lines skipped since nothing but white space is there
  std::size_t too_long = 0;                   ///< lines skipped for `max_bytes`
  std::size_t repaired = 0;                   ///< prompts taken with invalid UTF-8 replaced by U+FFFD
  std::size_t responses = 0;                  ///< distinct ones
};

/// Reads a log of prompts, plain or gzip, and merges repeated ones. Told apart by content: JSON lines begin with `{`;
/// TSV has a first line of which a cell is the wanted column (letter case aside unless it was asked for by name); any
/// other file without a tab in its first line has a prompt a line. A first line with tabs but without the column is an
/// error, as is a JSON array or a header of comma-separated names, because reading those as prompts would be worse.
///
/// A column or key `count`, a whole number of at least 1, says how often a prompt came, and one called `response` what
/// was answered, of which only is kept which are the same. Control characters inside a prompt, tabs and line breaks
/// among them, become spaces, so that it is one cell of a TSV file. Memory: the file and the distinct prompts. Throws
/// `Error` with file and line: a missing column or key, a short row, a value that is no text, a bad count, bytes that
/// are no text, no prompt at all.
PromptLog read_prompt_log(const std::string& path, const PromptLogOptions& options = {});

}  // namespace promptcache
