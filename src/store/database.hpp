#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace promptcache::store {

/// A connection to a SQLite file. One thread at a time. Every failure is an `Error` naming the path.
class Database {
 public:
  static Database open(const std::string& path);

  const std::string& path() const { return path_; }
  sqlite3* handle() const { return handle_.get(); }

  void execute(const char* statements);
  std::int64_t number(const char* query);  ///< of the first column of the first row

  /// Throws unless `code` is one of success.
  void check(int code) const;

  /// The open write-ahead log and the open file.
  sqlite3_file* log() const { return file(SQLITE_FCNTL_JOURNAL_POINTER); }
  sqlite3_file* main() const { return file(SQLITE_FCNTL_FILE_POINTER); }

  /// Has what was written to an open file reach the disk. May run beside a thread that uses the connection.
  void sync(sqlite3_file* file) const;

 private:
  struct Closer {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  sqlite3_file* file(int which) const;

  std::string path_;
  std::unique_ptr<sqlite3, Closer> handle_;
};

/// A prepared statement; used again after `reset`.
class Statement {
 public:
  Statement(Database& database, const char* query);

  Statement& bind(int place, std::int64_t value);
  Statement& bind(int place, double value);
  Statement& bind_blob(int place, std::string_view bytes);  ///< must outlive the next `step`
  Statement& bind_text(int place, std::string_view text);   ///< must outlive the next `step`

  bool step();  ///< false: no more rows
  void run();   ///< a step without a row, and a reset
  void reset();

  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view bytes(int column) const;  ///< until the next step

 private:
  struct Closer {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  Database* database_;
  std::unique_ptr<sqlite3_stmt, Closer> statement_;
};

}  // namespace promptcache::store
