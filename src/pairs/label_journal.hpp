#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "promptcache/base/log.hpp"
#include "promptcache/pairs/labelling.hpp"

namespace promptcache::pairs {

/// What a journal belongs to: its first line. Answers of different headers are never mixed.
struct JournalHeader {
  std::string pairs;  ///< digest of all pairs in order
  std::string prompt_version;
  std::string prompt;  ///< digest of the text
  std::string model;
  double temperature = 0;
};

/// What became of one question: one line.
struct JournalEntry {
  std::size_t pair = 0;   ///< the first one that asks it, counted from 0
  bool reversed = false;  ///< as (q2, q1)
  PairLabel::State state = PairLabel::State::answered;
  double value = 0;     ///< when answered
  std::string text{};   ///< the answer, or what was said instead; one short line
  std::string model{};  ///< as the teacher names itself
  std::size_t prompt_tokens = 0, answer_tokens = 0;
  bool estimated = false;
  std::size_t requests = 0;
};

/// Reads a journal without changing it; an absent or empty file gives none, a torn last line is left out. Throws
/// `Error` as `LabelJournal`.
std::vector<JournalEntry> read_journal(const std::string& path, const JournalHeader& header);

/// An append-only file of JSON lines that one process has open.
class LabelJournal {
 public:
  /// Creates it, or opens it to go on: cuts a torn last line. Throws `Error`: busy, usage (there is one and `resume` is
  /// not set), mismatch (of another header), format, io.
  LabelJournal(std::string path, const JournalHeader& header, bool resume, const LogCallback& log);
  LabelJournal(const LabelJournal&) = delete;
  LabelJournal& operator=(const LabelJournal&) = delete;
  ~LabelJournal();

  /// What was there when it was opened.
  const std::vector<JournalEntry>& entries() const noexcept { return entries_; }

  /// On disk when it returns. Throws `Error(io)`; the file then ends where it did before.
  void append(std::span<const JournalEntry> entries);

 private:
  void write_durably(const std::string& text);

  std::string path_;
  std::string prompt_version_;
  int descriptor_ = -1;
  std::size_t size_ = 0;  ///< bytes that are on disk
  std::vector<JournalEntry> entries_;
};

}  // namespace promptcache::pairs
