#pragma once

#include <chrono>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "promptcache/cache/request.hpp"

namespace promptcache {

/// What a cache tells of a lookup: enough to judge it again. Prompts appear as digests only.
struct DecisionRecord {
  std::chrono::system_clock::time_point time;
  Outcome outcome = Outcome::miss;
  Digest scope;
  Decision decision;
};

/// One line of JSON, without the line's end. Numbers are written so that they are read back to the same bits.
std::string to_json(const DecisionRecord& record);

/// The same read back, timings and bound included. Throws `Error(format)` naming `where`, a file and a line, say.
DecisionRecord decision_record_from_json(std::string_view line, const std::string& where);

/// Appends records to a file, a line each behind one that names the policy: what pc-replay reads. Buffered; a file that
/// cannot be written later loses records and nothing else. Thread-safe; copies share the file.
///
///     options.on_decision = DecisionRecorder("decisions.jsonl", *options.policy);
class DecisionRecorder {
 public:
  /// Throws `Error` naming the path when it cannot be written.
  DecisionRecorder(const std::string& path, const CachePolicy& policy);
  void operator()(const DecisionRecord& record) const;

 private:
  struct Shared {
    std::mutex mutex;
    std::ofstream file;
  };
  std::shared_ptr<Shared> shared_;
};

}  // namespace promptcache
