#include "store/store_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "store/log_repair.hpp"
#include "store/record.hpp"
#include "store/table.hpp"

namespace promptcache::store {
namespace {

namespace fs = std::filesystem;

// Holds a record of the usual length without overflow pages.
constexpr std::size_t page_bytes = 8192;

void note(const LogCallback& log, const std::string& text) {
  if (log) log(LogLevel::warning, text);
}

void make_schema(Database& database, std::uint64_t instance) {
  database.execute("begin");
  database.execute(schema);
  Statement fact(database, "insert into facts values (?, ?)");
  fact.bind_text(1, "instance").bind(2, static_cast<std::int64_t>(instance)).run();
  fact.bind_text(1, "next_id").bind(2, std::int64_t{1}).run();
  database.execute(("pragma application_id=" + std::to_string(application_id)).c_str());
  database.execute(("pragma user_version=" + std::to_string(schema_version)).c_str());
  database.execute("commit");
}

/// An open file in the house's settings, with its tables, known to be a store of this version.
Database open_checked(const std::string& path) {
  Database database = Database::open(path);
  database.execute(("pragma page_size=" + std::to_string(page_bytes)).c_str());  // of a new file
  if (database.number("select count(*) from sqlite_schema") == 0 && database.number("pragma application_id") == 0) {
    make_schema(database, random_instance());
  }
  if (database.number("pragma application_id") != application_id) {
    throw Error(ErrorCode::mismatch, {path}, "a database of another program", "a store");
  }
  if (const std::int64_t version = database.number("pragma user_version"); version != schema_version) {
    throw Error(ErrorCode::unsupported, {path}, "a store of version " + std::to_string(version),
                "version " + std::to_string(schema_version));
  }
  // That every table answers: a damaged list of tables shows here.
  RecordReader{database};
  Statement(database, "select request, entry from wrong_pairs");
  Statement(database, "select name, value from facts");
  database.execute("pragma journal_mode=wal");
  // The work in the background does this, so that no insert waits for it.
  database.execute("pragma wal_autocheckpoint=0");
  database.execute("pragma journal_size_limit=16777216");
  return database;
}

template <class Action>
bool survives_damage(Action&& action) {
  try {
    action();
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::format) throw;
    return false;
  }
}

/// Reads whatever the file's structure still leads to; false when some of it does not.
bool read_content(Database& database, Content& content) {
  const auto digest_of = [](std::string_view bytes) {
    Digest digest;
    if (bytes.size() == digest.bytes.size()) std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
    return digest;
  };
  bool whole = survives_damage([&] {
    Statement pairs(database, "select request, entry from wrong_pairs order by rowid");
    while (pairs.step()) content.wrong_pairs.emplace_back(digest_of(pairs.bytes(0)), digest_of(pairs.bytes(1)));
  });
  whole = survives_damage([&] {
            content.instance =
                static_cast<std::uint64_t>(database.number("select value from facts where name = 'instance'"));
            content.next_id = static_cast<EntryId>(database.number("select value from facts where name = 'next_id'"));
          }) &&
          whole;
  EntryId last = 0;
  EntryId skip = 0;  // ids jumped over to get behind a damaged page; doubled each time
  const EntryId end = std::max<EntryId>(content.next_id, EntryId{1} << 20);
  for (bool done = false; !done && last < end;) {
    const bool read = survives_damage([&] {
      RecordReader reader(database);
      reader.begin_behind(last);
      for (Entry entry;;) {
        const RecordReader::Result result = reader.next(entry);
        if (result == RecordReader::Result::end) {
          done = true;
          return;
        }
        last = std::max(last, entry.id);
        skip = 0;
        if (result == RecordReader::Result::damaged) {
          ++content.damaged_records;
          continue;
        }
        content.entries.push_back(std::move(entry));
      }
    });
    whole = whole && read;
    skip = std::max<EntryId>(2 * skip, 1);
    last += read ? 0 : skip;
  }
  if (!content.entries.empty()) content.next_id = std::max(content.next_id, content.entries.back().id + 1);
  return whole;
}

/// Whether the head of a file that SQLite refuses is a store's but for a few bytes.
bool looks_like_a_store(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string head(72, '\0');
  if (!file.read(head.data(), static_cast<std::streamsize>(head.size()))) return false;
  static constexpr std::string_view wanted("SQLite format 3\0\x20\0\2\2\0\x40\x20\x20", 24);  // pages of 8192, WAL
  std::size_t same = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) same += head[i] == wanted[i] ? 1 : 0;
  return same >= wanted.size() - 4 || std::string_view(head).substr(68) == "pcCa";  // application_id
}

/// A copy of a damaged file with the first page of a sound one: it has the file's head and the list of its tables,
/// which are the same in every store.
bool mend_first_page(const std::string& path, const std::string& copy) {
  const std::string sound_path = copy + ".new";
  fs::remove(sound_path);
  {
    Database sound = open_checked(sound_path);
    sound.execute("pragma wal_checkpoint(truncate)");
  }
  const std::string sound = read_file(sound_path);
  std::string bytes = read_file(path);
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(sound_path + suffix);
  if (bytes.size() < 2 * page_bytes || sound.size() < page_bytes) return false;
  const std::size_t pages = bytes.size() / page_bytes;
  bytes.resize(pages * page_bytes);
  bytes.replace(0, page_bytes, sound, 0, page_bytes);
  constexpr std::size_t page_count_place = 28;
  for (std::size_t i = 0; i < 4; ++i) bytes[page_count_place + i] = static_cast<char>(pages >> (8 * (3 - i)) & 0xFF);
  write_file_atomically(copy, bytes);
  return true;
}

std::string set_aside_name(const std::string& path) {
  std::string aside = path + ".damaged";
  for (int i = 2; fs::exists(aside); ++i) aside = path + ".damaged." + std::to_string(i);
  return aside;
}

/// Renames a damaged file and what belongs to it. Returns its new path.
std::string set_aside(const std::string& path) {
  std::string aside = set_aside_name(path);
  for (const char* suffix : {"-wal", "-shm", ""}) {
    std::error_code missing;
    fs::rename(path + suffix, aside + suffix, missing);
  }
  return aside;
}

void write_content(Database& database, const Content& content) {
  database.execute("begin");
  Statement fact(database, "insert or replace into facts values (?, ?)");
  fact.bind_text(1, "instance").bind(2, static_cast<std::int64_t>(content.instance)).run();
  fact.bind_text(1, "next_id").bind(2, static_cast<std::int64_t>(content.next_id)).run();
  RecordWriter writer(database);
  for (const Entry& entry : content.entries) writer.write(entry);
  Statement pair(database, "insert or ignore into wrong_pairs values (?, ?)");
  for (const auto& [request, entry] : content.wrong_pairs) {
    pair.bind_blob(1, request.view()).bind_blob(2, entry.view()).run();
  }
  database.execute("commit");
}

/// Repairs the log that an earlier process left, and keeps the damaged one. Returns how many transactions are lost.
std::size_t mend_log(const std::string& path, const LogCallback& log) {
  const std::string log_path = path + "-wal";
  if (!fs::exists(log_path)) return 0;
  const std::string damaged = read_file(log_path);
  std::string bytes = damaged;
  const LogRepair repair = repair_log(bytes, page_bytes);
  if (repair.corrected + repair.accepted + repair.lost == 0) return 0;
  const std::string aside = set_aside_name(log_path);
  write_file_atomically(aside, damaged);
  if (repair.corrected + repair.accepted > 0) {
    note(log, log_path + ": " + std::to_string(repair.corrected + repair.accepted) + " bytes are damaged, " +
                  std::to_string(repair.corrected) + " of them put right; the file is kept as " + aside);
    write_file_atomically(log_path, bytes);
  }
  if (repair.lost > 0) {
    note(log, log_path + ": damaged, with " + std::to_string(repair.lost) +
                  " transactions behind the damage that are lost; the file is kept as " + aside);
  }
  return repair.lost;
}

}  // namespace

FileLock::FileLock(const std::string& store_path) {
  const std::string path = store_path + ".lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw system_error({path}, errno, "a file that can be written");
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    char text[32] = {};
    const ssize_t got = ::pread(descriptor_, text, sizeof(text) - 1, 0);
    ::close(descriptor_);
    throw Error(ErrorCode::busy, {store_path},
                "a store that is open already" + (got > 0 ? ", in process " + std::string(text) : std::string()),
                "one that nobody writes");
  }
  const std::string text = std::to_string(::getpid());
  if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, text.data(), text.size(), 0) < 0) {
    // The number is for the message above only; a full disk must not keep a store from being read.
  }
}

FileLock::~FileLock() { ::close(descriptor_); }

std::pair<Database, Content> open_store_file(const std::string& path, const LogCallback& log) {
  if (fs::is_directory(path)) throw Error(ErrorCode::access, {path}, "a directory", "the file of a store");
  const std::size_t lost = mend_log(path, log);
  Content content;
  std::string damage;
  bool schema_is_sound = false;
  try {
    Database database = open_checked(path);
    schema_is_sound = true;
    if (read_content(database, content)) {
      if (content.damaged_records > 0) {
        note(log, path + ": " + std::to_string(content.damaged_records) + " records are damaged and left out");
      }
      content.damaged_records += lost;
      return {std::move(database), std::move(content)};
    }
    damage = "its structure is damaged";
  } catch (const Error& error) {
    if (error.code() != ErrorCode::format || !looks_like_a_store(path)) throw;
    damage = error.what();
  }
  if (!schema_is_sound) {
    const std::string copy = path + ".mending";
    content = {};
    if (mend_first_page(path, copy)) {
      survives_damage([&] {
        Database mended = Database::open(copy);
        read_content(mended, content);
      });
    }
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(copy + suffix);
  }
  if (content.instance == 0) content.instance = random_instance();
  const std::string aside = set_aside(path);
  Database fresh = open_checked(path);
  write_content(fresh, content);
  note(log, path + ": " + damage + "; " + std::to_string(content.entries.size()) +
                " entries could be read, the file is kept as " + aside);
  content.damaged_records += lost + 1;
  return {std::move(fresh), std::move(content)};
}

}  // namespace promptcache::store
