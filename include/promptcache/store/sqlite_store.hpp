#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "promptcache/base/log.hpp"
#include "promptcache/store/memory_store.hpp"

namespace promptcache {

/// When what a `SqliteStore` has acknowledged reaches the disk. In every mode it outlives the end of the process,
/// `kill -9` included; the modes differ in what a loss of power, or a crash of the operating system, can cost.
enum class SyncMode : std::uint8_t {
  each,     ///< nothing: every call waits for the disk (calls at the same time share one wait)
  grouped,  ///< what was acknowledged in the last `sync_window`
  none,     ///< anything; the operating system decides
};

struct SqliteStoreOptions {
  StoreLimits limits = {};
  SyncMode sync = SyncMode::grouped;
  std::chrono::milliseconds sync_window{50};  ///< of `SyncMode::grouped`
  LogCallback log = {};                       ///< told of damage found, and of failing work in the background
};

/// Entries in memory, as in `MemoryStore`, and in one SQLite file (WAL), from which they are read when it is opened.
/// Vectors are kept in the file only. Every record has a checksum; damaged ones are reported and left out, and a file
/// whose structure is damaged is set aside as `<path>.damaged` while a new one takes over what can be read. In the
/// write-ahead log a damaged byte is put right; behind worse damage finished transactions are lost, and reported.
///
/// One process at a time: the lock is on `<path>.lock`. Other programs may read the file meanwhile (`sqlite3
/// -readonly`).
class SqliteStore : public EntryStore {
 public:
  /// Opens or makes a file. Throws `Error` naming the path: busy when another process has it, access or io when it
  /// cannot be opened, format when it is no store, unsupported when it is of a later version.
  static std::shared_ptr<SqliteStore> open(const std::string& path, SqliteStoreOptions options = {});
  ~SqliteStore() override;  ///< everything is on disk afterwards, whatever the mode

  /// Throws `Error(io)` when the file cannot be written: nothing is stored then.
  PutResult put(Entry entry) override;
  EntryPointer get(EntryId id) const override;
  EntryPointer find(const Digest& key) const override;
  void touch(EntryId id) override;
  /// Not written: after a restart the entry lives as long as it did when stored.
  void extend(EntryId id, Entry::TimePoint expires) override;
  /// Gone from memory at once. Throws `Error(io)` when the file cannot be written; it is tried again with the next
  /// call.
  std::vector<EntryPointer> erase(const std::vector<EntryId>& ids) override;
  std::vector<EntryPointer> erase_expired(Entry::TimePoint now, std::size_t limit) override;
  std::size_t size() const override;
  std::size_t bytes() const override;
  void for_each(const std::function<void(const EntryPointer&)>& visit) const override;
  void for_each_with_vector(const std::function<void(const EntryPointer&)>& visit) const override;
  void add_wrong_pair(const Digest& request, const Digest& entry) override;
  bool is_wrong_pair(const Digest& request, const Digest& entry) const override;
  std::uint64_t instance() const override;

  /// Returns when all that was acknowledged before is on disk, whatever the mode. Throws `Error(io)`.
  void flush();

  /// Records that were damaged when the file was opened, and transactions lost behind damage of its log.
  std::size_t damaged_records() const;

 private:
  struct Impl;
  explicit SqliteStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
