#include "pairs/label_journal.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache::pairs {
namespace {

using Json = nlohmann::ordered_json;
using State = PairLabel::State;

constexpr const char* kind = "promptcache label journal";
constexpr const char* wanted_to_save = "room and permission to save the journal";

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json to_json(const JournalHeader& header) {
  return {{"kind", kind},
          {"format", 1},
          {"pairs", header.pairs},
          {"prompt_version", header.prompt_version},
          {"prompt", header.prompt},
          {"model", header.model},
          {"temperature", header.temperature}};
}

Json to_json(const JournalEntry& entry, const std::string& prompt_version) {
  Json json = {{"pair", entry.pair}, {"reversed", entry.reversed}, {"state", to_string(entry.state)}};
  if (entry.state == State::answered) json["value"] = entry.value;
  json["text"] = entry.text;
  json["model"] = entry.model;
  json["prompt_version"] = prompt_version;
  json["prompt_tokens"] = entry.prompt_tokens;
  json["answer_tokens"] = entry.answer_tokens;
  json["estimated"] = entry.estimated;
  json["requests"] = entry.requests;
  return json;
}

std::optional<JournalEntry> entry_from(const Json& json) {
  JournalEntry entry;
  try {
    entry.pair = json.at("pair").get<std::size_t>();
    entry.reversed = json.at("reversed").get<bool>();
    const std::string state = json.at("state").get<std::string>();
    for (State known : {State::answered, State::unparsable, State::refused, State::rejected}) {
      if (state == to_string(known)) entry.state = known;
    }
    if (state != to_string(entry.state)) return std::nullopt;
    if (entry.state == State::answered) entry.value = json.at("value").get<double>();
    entry.text = json.at("text").get<std::string>();
    entry.model = json.at("model").get<std::string>();
    entry.prompt_tokens = json.at("prompt_tokens").get<std::size_t>();
    entry.answer_tokens = json.at("answer_tokens").get<std::size_t>();
    entry.estimated = json.at("estimated").get<bool>();
    entry.requests = json.at("requests").get<std::size_t>();
  } catch (const Json::exception&) {
    return std::nullopt;
  }
  return entry.value >= 0 && entry.value <= 1 ? std::optional(entry) : std::nullopt;
}

void check_header(const Json& found, const JournalHeader& header, const Where& where) {
  if (!found.is_object() || found.value("kind", Json()) != kind || found.value("format", Json()) != 1) {
    throw Error(ErrorCode::format, where, "no journal of labels", "a journal that this version has begun, or no file");
  }
  const Json wanted = to_json(header);
  for (const char* field : {"pairs", "model", "prompt_version", "prompt", "temperature"}) {
    const Json there = found.value(field, Json());
    if (there == wanted[field]) continue;
    const bool digest = std::string(field) == "pairs" || std::string(field) == "prompt";
    throw Error(
        ErrorCode::mismatch, where,
        digest ? std::string("a journal of other ") + (field == std::string("pairs") ? "pairs" : "prompt text")
               : "a journal of " + std::string(field) + " " + there.dump(),
        digest ? "the same as when it was begun, or another --out" : wanted[field].dump() + ", or another --out");
  }
}

struct Content {
  std::vector<JournalEntry> entries;
  std::size_t sound = 0;  ///< bytes up to the end of the last whole line
};

Content parse(const std::string& text, const JournalHeader& header, const std::string& path) {
  Content content;
  for (std::size_t line = 1; content.sound < text.size(); ++line) {
    const std::size_t end = text.find('\n', content.sound);
    if (end == std::string::npos) {  // torn: the process or the machine went down while it was written
      if (line == 1 && !line_of(to_json(header)).starts_with(text)) check_header({}, header, {path, 1});
      break;
    }
    const std::string_view bytes = std::string_view(text).substr(content.sound, end - content.sound);
    const Json json = Json::parse(bytes, nullptr, false);
    if (line == 1) {
      check_header(json, header, {path, 1});
    } else if (auto entry = entry_from(json)) {
      content.entries.push_back(std::move(*entry));
    } else if (end + 1 == text.size()) {
      break;  // a last line of lost blocks
    } else {
      throw Error(ErrorCode::format, {path, line}, "'" + std::string(bytes.substr(0, 60)) + "'",
                  "a line of the journal");
    }
    content.sound = end + 1;
  }
  return content;
}

void flush_directory_of(const std::string& path) {
  std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (parent.empty()) parent = ".";
  const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  (void)::fsync(directory);  // some file systems refuse it on a directory
  ::close(directory);
}

}  // namespace

std::vector<JournalEntry> read_journal(const std::string& path, const JournalHeader& header) {
  if (!std::filesystem::exists(path)) return {};
  return parse(read_file(path), header, path).entries;
}

LabelJournal::LabelJournal(std::string path, const JournalHeader& header, bool resume, const LogCallback& log)
    : path_(std::move(path)), prompt_version_(header.prompt_version) {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw system_error({path_}, errno, wanted_to_save);
  try {
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      throw Error(ErrorCode::busy, {path_}, "a journal that another process writes", "one run at a time");
    }
    const std::string text = read_file(path_);
    if (!text.empty() && !resume) {
      throw Error(ErrorCode::usage, {path_}, "a journal of an earlier run",
                  "--resume to go on with it, another --out, or no such file");
    }
    Content content = parse(text, header, path_);
    entries_ = std::move(content.entries);
    size_ = content.sound;
    if (size_ < text.size()) {
      if (log) log(LogLevel::info, path_ + ": its last line is torn and was cut off");
      if (::ftruncate(descriptor_, static_cast<off_t>(size_)) != 0) throw system_error({path_}, errno, wanted_to_save);
    }
    if (size_ == 0) {
      write_durably(line_of(to_json(header)));
      flush_directory_of(path_);
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

LabelJournal::~LabelJournal() { ::close(descriptor_); }

void LabelJournal::append(std::span<const JournalEntry> entries) {
  std::string text;
  for (const JournalEntry& entry : entries) text += line_of(to_json(entry, prompt_version_));
  write_durably(text);
}

void LabelJournal::write_durably(const std::string& text) {
  const auto fail = [&](int error_number) {
    // Half a line must not stand before whole ones; when even this fails, reading cuts it.
    (void)!::ftruncate(descriptor_, static_cast<off_t>(size_));
    throw system_error({path_}, error_number, wanted_to_save);
  };
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written =
        ::pwrite(descriptor_, text.data() + done, text.size() - done, static_cast<off_t>(size_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(errno);
    if (written == 0) fail(ENOSPC);
    done += static_cast<std::size_t>(written);
  }
  if (::fdatasync(descriptor_) != 0) fail(errno);
  size_ += text.size();
}

}  // namespace promptcache::pairs
