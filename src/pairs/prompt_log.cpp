#include "promptcache/pairs/prompt_log.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "pairs/gzip_reader.hpp"
#include "pairs/lines.hpp"
#include "promptcache/base/digest.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/pairs/split.hpp"
#include "text/utf8.hpp"

namespace promptcache {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 4> known_columns = {"prompt", "text", "query", "question"};
constexpr std::size_t npos = static_cast<std::size_t>(-1);
constexpr std::uint64_t largest_count = 1'000'000'000'000;  // sums of these over any log fit 64 bits

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

std::string wanted_column(const PromptLogOptions& options) {
  return options.column.empty() ? "prompt, text, query or question" : "'" + options.column + "'";
}

std::size_t find_name(const std::vector<std::string>& names, std::string_view wanted) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (lower(trimmed(names[i])) == wanted) return i;
  }
  return npos;
}

/// Position of the prompts' column among these names, or npos.
std::size_t find_column(const std::vector<std::string>& names, const PromptLogOptions& options) {
  if (!options.column.empty()) {
    const auto found = std::find(names.begin(), names.end(), options.column);
    return found == names.end() ? npos : static_cast<std::size_t>(found - names.begin());
  }
  for (const std::string_view known : known_columns) {
    if (const std::size_t found = find_name(names, known); found != npos) return found;
  }
  return npos;
}

[[noreturn]] void refuse_count(const Where& where, const std::string& found) {
  throw Error(ErrorCode::format, where, "count " + found, "a whole number from 1 to 10^12");
}

std::uint64_t parse_count(const Where& where, std::string_view text) {
  std::uint64_t count = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (status != std::errc() || end != text.data() + text.size() || count < 1 || count > largest_count) {
    refuse_count(where, in_quotes(text));
  }
  return count;
}

/// Valid UTF-8 on one line.
std::string cleaned(std::string_view text, bool& repaired) {
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  std::string result;
  if (ascii) {
    result = text;
  } else {
    for (const char32_t code_point : text::decode_utf8(text)) text::append_utf8(result, code_point);
    repaired = result != text;
  }
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  }
  return std::string(trimmed(result));
}

/// Takes prompts one by one and merges them.
class Collector {
 public:
  Collector(PromptLog& log, const PromptLogOptions& options) : log_(log), options_(options) {}

  bool full() const { return options_.limit > 0 && log_.read >= options_.limit; }

  void take(std::string_view raw, std::uint64_t count, std::size_t line, std::string_view response = {}) {
    if (raw.size() > options_.max_bytes) {  // before cleaning: that takes four times the memory
      raw = trimmed(raw);
      if (raw.size() > options_.max_bytes) {
        ++log_.too_long;
        return;
      }
    }
    bool repaired = false;
    std::string text = cleaned(raw, repaired);
    if (text.empty()) {
      ++log_.empty;
      return;
    }
    ++log_.read;
    if (repaired) ++log_.repaired;
    std::string key;
    if (options_.merge == PromptMerge::normalized) key = normalized_question(text);
    if (key.empty()) key = text;  // a prompt of punctuation only is itself
    const auto [place, fresh] = numbers_.try_emplace(std::move(key), log_.prompts.size());
    if (fresh) {
      log_.prompts.push_back({std::move(text), count, line});
    } else {
      log_.prompts[place->second].count += count;
    }
    Prompt& prompt = log_.prompts[place->second];
    if (prompt.response == 0 && !response.empty()) prompt.response = number_of(response);
  }

 private:
  std::uint32_t number_of(std::string_view response) {
    const auto [place, fresh] = responses_.try_emplace(sha256(response), log_.responses + 1);
    if (fresh) ++log_.responses;
    return static_cast<std::uint32_t>(place->second);
  }

  PromptLog& log_;
  const PromptLogOptions& options_;
  std::unordered_map<std::string, std::size_t> numbers_;
  std::unordered_map<Digest, std::size_t> responses_;
};

/// The first line that is not only white space; there must be one.
std::string_view first_line(Lines& lines) {
  std::string_view line;
  do {
    line = *lines.next();
  } while (trimmed(line).empty());
  return line;
}

void read_tsv(PromptLog& log, Lines lines, const PromptLogOptions& options, Collector& collector) {
  const std::vector<std::string> names = split_cells(first_line(lines));
  const Where header{log.path, lines.number()};
  const std::size_t column = find_column(names, options);
  if (column == npos) {
    throw Error(ErrorCode::format, header, "columns " + in_quotes(joined(names)),
                "a column " + wanted_column(options) + "; --column chooses another, --format lines reads lines");
  }
  if (std::count(names.begin(), names.end(), names[column]) > 1) {
    throw Error(ErrorCode::format, header, "column '" + names[column] + "' twice", "each column once");
  }
  const std::size_t count_column = find_name(names, "count"), response_column = find_name(names, "response");
  log.column = names[column];
  while (!collector.full()) {
    const auto line = lines.next();
    if (!line) break;
    const Where where{log.path, lines.number()};
    if (names.size() == 1) {  // nothing to tell apart, so that a tab may be part of a prompt
      collector.take(*line, 1, where.line);
      continue;
    }
    if (trimmed(*line).empty()) {
      ++log.empty;
      continue;
    }
    const std::vector<std::string> cells = split_cells(*line);
    if (cells.size() != names.size()) {
      throw Error(ErrorCode::format, where, std::to_string(cells.size()) + " cells",
                  std::to_string(names.size()) + " as in the header");
    }
    const bool counted = count_column != npos && count_column != column;
    const bool answered = response_column != npos && response_column != column;
    collector.take(cells[column], counted ? parse_count(where, cells[count_column]) : 1, where.line,
                   answered ? std::string_view(cells[response_column]) : std::string_view());
  }
}

std::uint64_t json_count(const Where& where, const Json& row) {
  const auto count = row.find("count");
  if (count == row.end()) return 1;
  const std::uint64_t value = count->is_number_unsigned() ? count->get<std::uint64_t>() : 0;
  if (value < 1 || value > largest_count) refuse_count(where, in_quotes(count->dump()));
  return value;
}

/// Whatever stands under the key, told apart from all other values; nothing for none.
std::string json_response(const Json& row, const std::string& column) {
  const auto found = column == "response" ? row.end() : row.find("response");
  return found == row.end() || found->is_null() || *found == "" ? std::string() : found->dump();
}

std::vector<std::string> keys_of(const Json& row) {
  std::vector<std::string> names;
  for (const auto& [key, value] : row.items()) names.push_back(key);
  return names;
}

void read_json_lines(PromptLog& log, Lines lines, const PromptLogOptions& options, Collector& collector) {
  while (!collector.full()) {
    const auto line = lines.next();
    if (!line) break;
    if (trimmed(*line).empty()) {
      ++log.empty;
      continue;
    }
    const Where where{log.path, lines.number()};
    // Invalid UTF-8 is repaired as in the other formats; the parser would refuse it.
    bool repaired = false;
    const Json row = Json::parse(cleaned(*line, repaired), nullptr, false);
    if (!row.is_object()) {
      throw Error(ErrorCode::format, where, in_quotes(*line), "a JSON object; --format lines reads lines");
    }
    if (log.column.empty()) {
      const std::vector<std::string> names = keys_of(row);
      const std::size_t column = find_column(names, options);
      if (column == npos) {
        throw Error(ErrorCode::format, where, "keys " + in_quotes(joined(names)),
                    "a key " + wanted_column(options) + "; --column chooses another");
      }
      log.column = names[column];
    }
    const auto value = row.find(log.column);
    if (value == row.end() || !value->is_string()) {
      throw Error(ErrorCode::format, where,
                  value == row.end() ? "keys " + in_quotes(joined(keys_of(row))) : in_quotes(value->dump()),
                  "a text under the key '" + log.column + "'");
    }
    const std::size_t before = log.read;
    collector.take(value->get_ref<const std::string&>(), json_count(where, row), where.line,
                   json_response(row, log.column));
    if (repaired && log.read > before) ++log.repaired;
  }
}

void read_plain_lines(Lines lines, Collector& collector) {
  while (!collector.full()) {
    const auto line = lines.next();
    if (!line) break;
    collector.take(*line, 1, lines.number());
  }
}

/// What a text that is not only white space shows.
PromptFormat format_of(const std::string& path, std::string_view text, const PromptLogOptions& options) {
  const std::string wanted = "JSON lines, TSV, or a prompt a line; --format lines takes any line as a prompt";
  Lines lines(text);
  const std::string_view header = first_line(lines);
  const Where where{path, lines.number()};
  const std::string_view start = trimmed(text);
  if (start.front() == '{') return PromptFormat::json_lines;
  if (start.front() == '[' && start.size() > 1) {
    const std::string_view inside = trimmed(start.substr(1));
    if (!inside.empty() && (inside.front() == '{' || (inside.front() == '"'))) {
      throw Error(ErrorCode::format, where, "a JSON array", wanted);
    }
  }
  const std::vector<std::string> names = split_cells(header);
  if (names.size() > 1 || !options.column.empty() || find_column(names, options) != npos) return PromptFormat::tsv;
  const std::vector<std::string> comma_names = split_cells(header, ',');
  if (comma_names.size() > 1 && header.find(' ') == npos && find_column(comma_names, options) != npos) {
    throw Error(ErrorCode::format, where, "a header with commas, " + in_quotes(header), wanted);
  }
  return PromptFormat::lines;
}

}  // namespace

const char* to_string(PromptFormat format) noexcept {
  switch (format) {
    case PromptFormat::automatic: return "automatic";
    case PromptFormat::tsv: return "tsv";
    case PromptFormat::json_lines: return "json";
    case PromptFormat::lines: return "lines";
  }
  return "";
}

PromptLog read_prompt_log(const std::string& path, const PromptLogOptions& options) {
  if (options.format == PromptFormat::lines && !options.column.empty()) {
    throw Error(ErrorCode::usage, {path}, "the column '" + options.column + "' asked for", "no column for plain lines");
  }
  const std::string content = read_maybe_gzip(path);
  if (const std::size_t at = content.find('\0'); at != npos) {
    const auto line = std::count(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(at), '\n') + 1;
    throw Error(ErrorCode::format, {path, static_cast<std::size_t>(line)}, "a zero byte", "text in UTF-8");
  }
  std::string_view text = content;
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  if (trimmed(text).empty()) {
    throw Error(ErrorCode::format, {path, 1}, content.empty() ? "an empty file" : "nothing but white space",
                "at least one prompt");
  }
  PromptLog log;
  log.path = path;
  log.format = options.format;
  if (log.format == PromptFormat::automatic) log.format = format_of(path, text, options);
  Collector collector(log, options);
  switch (log.format) {
    case PromptFormat::tsv: read_tsv(log, Lines(text), options, collector); break;
    case PromptFormat::json_lines: read_json_lines(log, Lines(text), options, collector); break;
    case PromptFormat::automatic:
    case PromptFormat::lines: read_plain_lines(Lines(text), collector); break;
  }
  if (log.prompts.empty()) {
    const auto lines =
        static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + (text.back() == '\n' ? 0 : 1);
    throw Error(ErrorCode::format, {path, lines},
                "no prompt up to here (" + std::to_string(log.empty) + " empty, " + std::to_string(log.too_long) +
                    " longer than " + std::to_string(options.max_bytes) + " bytes)",
                "at least one prompt");
  }
  return log;
}

}  // namespace promptcache
