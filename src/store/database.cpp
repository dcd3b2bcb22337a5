#include "store/database.hpp"

#include "promptcache/base/error.hpp"

namespace promptcache::store {
namespace {

ErrorCode code_of(int sqlite_code) {
  switch (sqlite_code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorCode::busy;
    case SQLITE_ERROR:  // our statements are sound, so it is the list of tables that is not
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorCode::format;
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM: return ErrorCode::access;
    default: return ErrorCode::io;
  }
}

}  // namespace

Database Database::open(const std::string& path) {
  Database database;
  database.path_ = path;
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  database.handle_.reset(handle);
  database.check(code);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, 10'000);
  return database;
}

void Database::check(int code) const {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return;
  std::string found = handle_ ? sqlite3_errmsg(handle_.get()) : sqlite3_errstr(code);
  if (const int error_number = handle_ ? sqlite3_system_errno(handle_.get()) : 0; error_number != 0) {
    found += " (" + std::string(system_error({path_}, error_number, "").what()) + ")";
  }
  throw Error(code_of(code), {path_}, found, "a working store");
}

void Database::execute(const char* statements) {
  check(sqlite3_exec(handle_.get(), statements, nullptr, nullptr, nullptr));
}

std::int64_t Database::number(const char* query) {
  Statement statement(*this, query);
  return statement.step() ? statement.integer(0) : 0;
}

sqlite3_file* Database::file(int which) const {
  sqlite3_file* file = nullptr;
  check(sqlite3_file_control(handle_.get(), "main", which, &file));
  return file;
}

void Database::sync(sqlite3_file* file) const {
  if (file == nullptr || file->pMethods == nullptr) return;
  const int code = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
  if (code != SQLITE_OK) throw Error(code_of(code), {path_}, sqlite3_errstr(code), "a disk that can be written");
}

Statement::Statement(Database& database, const char* query) : database_(&database) {
  sqlite3_stmt* statement = nullptr;
  database.check(sqlite3_prepare_v3(database.handle(), query, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr));
  statement_.reset(statement);
}

Statement& Statement::bind(int place, std::int64_t value) {
  database_->check(sqlite3_bind_int64(statement_.get(), place, value));
  return *this;
}

Statement& Statement::bind(int place, double value) {
  database_->check(sqlite3_bind_double(statement_.get(), place, value));
  return *this;
}

Statement& Statement::bind_blob(int place, std::string_view bytes) {
  const char* data = bytes.empty() ? "" : bytes.data();  // a null pointer would be NULL
  database_->check(sqlite3_bind_blob64(statement_.get(), place, data, bytes.size(), SQLITE_STATIC));
  return *this;
}

Statement& Statement::bind_text(int place, std::string_view text) {
  const char* data = text.empty() ? "" : text.data();
  database_->check(sqlite3_bind_text64(statement_.get(), place, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_.get());
  database_->check(code);
  return code == SQLITE_ROW;
}

void Statement::run() {
  const int code = sqlite3_step(statement_.get());
  sqlite3_reset(statement_.get());
  database_->check(code);
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::string_view Statement::bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return {static_cast<const char*>(data), data == nullptr ? 0 : size};
}

}  // namespace promptcache::store
