// A loss of power, simulated: SQLite writes through a layer that knows what has been synced. At any moment it can say
// what the disk might hold if the power went now: everything synced, and of each write since then all, nothing or a
// part.
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "promptcache/store/sqlite_store.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

using Clock = std::chrono::steady_clock;

struct Write {
  std::int64_t offset = 0;  // of a truncation the new length
  std::string bytes;
  bool truncates = false;
};

struct Disk {
  struct File {
    std::string synced;
    std::vector<Write> since;
    Clock::time_point last_sync;  // beginning of the last one that ended
  };
  std::mutex mutex;
  std::map<std::string, File> files;
} disk;

void apply_write(std::string& content, const Write& write) {
  if (write.truncates) {
    content.resize(static_cast<std::size_t>(write.offset));
    return;
  }
  const auto end = static_cast<std::size_t>(write.offset) + write.bytes.size();
  if (content.size() < end) content.resize(end);
  content.replace(static_cast<std::size_t>(write.offset), write.bytes.size(), write.bytes);
}

struct OpenFile {
  sqlite3_file base;
  Disk::File* file;  // null: not watched
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

OpenFile* self(sqlite3_file* file) { return reinterpret_cast<OpenFile*>(file); }
sqlite3_file* real(sqlite3_file* file) { return self(file)->real(); }

int close_file(sqlite3_file* file) { return real(file)->pMethods->xClose(real(file)); }
int read_file_part(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
  return real(file)->pMethods->xRead(real(file), data, size, offset);
}
int write_part(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  const int code = real(file)->pMethods->xWrite(real(file), data, size, offset);
  if (code == SQLITE_OK && self(file)->file != nullptr) {
    const std::lock_guard lock(disk.mutex);
    self(file)->file->since.push_back(
        {offset, std::string(static_cast<const char*>(data), static_cast<std::size_t>(size)), false});
  }
  return code;
}
int truncate(sqlite3_file* file, sqlite3_int64 size) {
  const int code = real(file)->pMethods->xTruncate(real(file), size);
  if (code == SQLITE_OK && self(file)->file != nullptr) {
    const std::lock_guard lock(disk.mutex);
    self(file)->file->since.push_back({size, "", true});
  }
  return code;
}
int sync(sqlite3_file* file, int flags) {
  std::size_t covered = 0;
  const auto begin = Clock::now();
  Disk::File* watched = self(file)->file;
  if (watched != nullptr) {
    const std::lock_guard lock(disk.mutex);
    covered = watched->since.size();
  }
  static_cast<void>(flags);  // the real disk need not be bothered
  if (watched != nullptr) {
    const std::lock_guard lock(disk.mutex);
    covered = std::min(covered, watched->since.size());
    for (std::size_t i = 0; i < covered; ++i) apply_write(watched->synced, watched->since[i]);
    watched->since.erase(watched->since.begin(), watched->since.begin() + static_cast<std::ptrdiff_t>(covered));
    watched->last_sync = begin;
  }
  return SQLITE_OK;
}
int file_size(sqlite3_file* file, sqlite3_int64* size) { return real(file)->pMethods->xFileSize(real(file), size); }
int lock(sqlite3_file* file, int level) { return real(file)->pMethods->xLock(real(file), level); }
int unlock(sqlite3_file* file, int level) { return real(file)->pMethods->xUnlock(real(file), level); }
int check_reserved(sqlite3_file* file, int* result) {
  return real(file)->pMethods->xCheckReservedLock(real(file), result);
}
int control(sqlite3_file* file, int what, void* argument) {
  return real(file)->pMethods->xFileControl(real(file), what, argument);
}
int sector_size(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
int characteristics(sqlite3_file*) { return 0; }  // no promise about writes in order or whole
int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** address) {
  return real(file)->pMethods->xShmMap(real(file), page, size, extend, address);
}
int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
  return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}
void shm_barrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
int shm_unmap(sqlite3_file* file, int remove) { return real(file)->pMethods->xShmUnmap(real(file), remove); }

constexpr sqlite3_io_methods methods = {
    2,         close_file,     read_file_part, write_part,  truncate,        sync,    file_size, lock,
    unlock,    check_reserved, control,        sector_size, characteristics, shm_map, shm_lock,  shm_barrier,
    shm_unmap, nullptr,        nullptr};

sqlite3_vfs* usual = nullptr;

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  OpenFile* own = self(file);
  own->base.pMethods = nullptr;
  own->file = nullptr;
  const int code = usual->xOpen(usual, name, own->real(), flags, out_flags);
  if (own->real()->pMethods != nullptr) own->base.pMethods = &methods;
  if (code == SQLITE_OK && name != nullptr && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0) {
    const std::lock_guard guard(disk.mutex);
    own->file = &disk.files[name];
  }
  return code;
}

/// In force for SQLite as a whole until the end of the scope.
class LossyDisk {
 public:
  LossyDisk() {
    disk.files.clear();
    usual = sqlite3_vfs_find(nullptr);
    vfs_ = *usual;
    vfs_.zName = "lossy";
    vfs_.szOsFile = static_cast<int>(sizeof(OpenFile)) + usual->szOsFile;
    vfs_.xOpen = open_file;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~LossyDisk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(usual, 1);
  }
  LossyDisk(const LossyDisk&) = delete;
  LossyDisk& operator=(const LossyDisk&) = delete;

 private:
  sqlite3_vfs vfs_;
};

/// Writes what the disk might hold after a loss of power now. Returns when the last sync of the log began.
Clock::time_point lose_power(const std::string& path, const std::string& to, std::mt19937& random) {
  const std::lock_guard guard(disk.mutex);
  for (const char* suffix : {"", "-wal"}) {
    const auto found = disk.files.find(path + suffix);
    if (found == disk.files.end()) continue;
    std::string content = found->second.synced;
    for (Write write : found->second.since) {
      const unsigned fate = random() % 3;
      if (fate == 0) continue;
      if (fate == 1 && !write.truncates) write.bytes.resize(random() % (write.bytes.size() + 1));
      apply_write(content, write);
    }
    std::ofstream(to + suffix, std::ios::binary) << content;
  }
  return disk.files[path + "-wal"].last_sync;
}

Entry entry(int number) {
  Entry result;
  result.key = sha256(std::to_string(number));
  result.prompt = std::to_string(number);
  result.response = std::string(static_cast<std::size_t>(number) % 5000, 'r');
  result.vector = std::vector<float>(64, 1);
  return result;
}

}  // namespace

TEST_CASE("a loss of power costs nothing with a sync each, and the window with grouped syncs") {
  const test::TemporaryDirectory directory;
  std::mt19937 random(3);
  for (const SyncMode sync : {SyncMode::each, SyncMode::grouped}) {
    std::size_t lost = 0;
    const LossyDisk lossy;
    const std::string path = directory.file(sync == SyncMode::each ? "each.db" : "grouped.db");
    std::vector<std::string> log;
    const auto note = [&](LogLevel, std::string_view text) { log.emplace_back(text); };
    const auto store =
        SqliteStore::open(path, {.sync = sync, .sync_window = std::chrono::milliseconds(5), .log = note});
    std::vector<Clock::time_point> acknowledged;
    for (int round = 0; round < 60; ++round) {
      for (unsigned i = random() % 40; i > 0; --i) {
        store->put(entry(static_cast<int>(acknowledged.size())));
        acknowledged.push_back(Clock::now());
      }
      if (round % 20 == 19) store->flush();
      const std::string after = directory.file("after " + std::to_string(round) + ".db");
      const Clock::time_point synced = lose_power(path, after, random);
      {
        const auto survivor = SqliteStore::open(after, {.sync = SyncMode::none, .log = note});
        if (sync == SyncMode::each) REQUIRE(survivor->damaged_records() == 0);
        for (std::size_t i = 0; i < acknowledged.size(); ++i) {
          const auto found = survivor->find(sha256(std::to_string(i)));
          if (found) {
            REQUIRE(found->response == entry(static_cast<int>(i)).response);
          } else {
            ++lost;
            CAPTURE(round, i, acknowledged.size());
            REQUIRE(sync == SyncMode::grouped);
            REQUIRE(acknowledged[i] >= synced);  // and a sync begins at most a window after the last
          }
        }
      }
      const std::lock_guard guard(disk.mutex);
      std::erase_if(disk.files, [&](const auto& each) { return each.first.find("after ") != std::string::npos; });
    }
    CHECK(acknowledged.size() > 600);
    if (sync == SyncMode::each) CHECK(lost == 0);
    // Grouped, what is lost with the window may look like damage of the log, and is reported.
    if (sync == SyncMode::each) CHECK(log.empty());
  }
}
