#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "promptcache/base/log.hpp"
#include "promptcache/store/sqlite_store.hpp"
#include "store/database.hpp"

namespace promptcache::store {

/// Holds the right to write a store: one process, and one place in it, at a time.
class FileLock {
 public:
  /// Throws `Error`: busy, naming the process that has it, when that knows its number.
  explicit FileLock(const std::string& store_path);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  int descriptor_ = -1;
};

/// What a store's file holds, read whole.
struct Content {
  std::vector<Entry> entries;  // in the order of their ids
  std::vector<std::pair<Digest, Digest>> wrong_pairs;
  std::uint64_t instance = 0;
  EntryId next_id = 1;  // above all that were ever given
  std::size_t damaged_records = 0;
};

/// Opens or makes the file and reads what it holds; a damaged one is set aside and what can be read of it moved into a
/// new one. Throws `Error` as `SqliteStore::open`.
std::pair<Database, Content> open_store_file(const std::string& path, const LogCallback& log);

}  // namespace promptcache::store
