#include "promptcache/store/sqlite_store.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "promptcache/base/error.hpp"
#include "store/record.hpp"
#include "store/store_file.hpp"
#include "store/table.hpp"

namespace promptcache {
namespace {

constexpr std::int64_t ids_a_reservation = 1000;
constexpr int checkpoint_pages = 1000;    // of the log, before they are moved into the file in the background
constexpr int longest_log_pages = 32000;  // before writers wait for that

/// What one call wants written. Those that come while another is being written go into one transaction.
struct Change {
  Entry* put = nullptr;
  std::vector<EntryId> erase;
  std::optional<store::Table::WrongPair> wrong_pair;

  std::vector<EntryStore::EntryPointer> removed;  // by `put`
  bool done = false;
  std::exception_ptr error;
};

/// What memory has let go of already, and the file has not: removed with the next transaction.
struct Leftovers {
  std::vector<EntryId> rows;
  std::vector<store::Table::WrongPair> forgotten_pairs;
};

}  // namespace

struct SqliteStore::Impl {
  SqliteStoreOptions options;
  std::unique_ptr<store::FileLock> lock;
  store::Table table;
  std::uint64_t instance;
  std::size_t damaged_records;
  std::atomic<EntryId> next_id;

  mutable std::mutex database_mutex;  // of the connection and all that follows
  mutable store::Database database;
  store::RecordWriter insert;
  store::Statement begin, end, remove, add_pair, remove_pair, reserve;
  EntryId reserved_until;                    // ids below may be given out
  sqlite3_file* log_file = nullptr;          // synced without the mutex
  mutable std::vector<EntryPointer> loaded;  // as read at opening, with vectors, until they are asked for

  std::mutex queue_mutex;  // of all that follows
  std::condition_variable queue_changed;
  std::vector<Change*> queue;
  bool writing = false;
  Leftovers leftovers;

  std::mutex background_mutex;  // of all that follows
  std::condition_variable background_changed;
  bool unsynced = false;
  bool stopping = false;
  int log_pages = 0;
  std::thread background;

  Impl(SqliteStoreOptions given, std::unique_ptr<store::FileLock> held, store::Database opened, store::Content content);
  ~Impl();

  void commit(Change& change);
  void write(const std::vector<Change*>& changes);
  void transact(const std::vector<Change*>& changes, const Leftovers& left);
  void finish(Change& change);
  void leave_over(const std::vector<EntryId>& rows, const std::vector<store::Table::WrongPair>& forgotten = {});
  std::vector<EntryPointer> erase_rows(std::vector<EntryPointer> removed);
  void work_in_background();
  void checkpoint(const std::string& path);
  void note(const std::string& text) const {
    if (options.log) options.log(LogLevel::warning, text);
  }
};

SqliteStore::Impl::Impl(SqliteStoreOptions given, std::unique_ptr<store::FileLock> held, store::Database opened,
                        store::Content content)
    : options(std::move(given)),
      lock(std::move(held)),
      table(options.limits, false),
      instance(content.instance),
      damaged_records(content.damaged_records),
      next_id(content.next_id),
      database(std::move(opened)),
      insert(database),
      begin(database, "begin immediate"),
      end(database, "commit"),
      remove(database, "delete from entries where id = ?"),
      add_pair(database, "insert or ignore into wrong_pairs values (?, ?)"),
      remove_pair(database, "delete from wrong_pairs where request = ? and entry = ?"),
      reserve(database, "update facts set value = ? where name = 'next_id'"),
      reserved_until(content.next_id) {
  const char* modes[] = {"pragma synchronous=full", "pragma synchronous=normal", "pragma synchronous=off"};
  database.execute(modes[static_cast<std::size_t>(options.sync)]);
  for (Entry& entry : content.entries) {
    loaded.push_back(std::make_shared<const Entry>(entry));
    for (const EntryPointer& removed : table.put(std::move(entry))) leftovers.rows.push_back(removed->id);
  }
  for (const store::Table::WrongPair& pair : content.wrong_pairs) table.add_wrong_pair(pair);
  const auto count_pages = [](void* self, sqlite3*, const char*, int pages) {
    Impl& impl = *static_cast<Impl*>(self);
    const std::lock_guard guard(impl.background_mutex);
    impl.log_pages = pages;
    if (impl.options.sync == SyncMode::grouped) impl.unsynced = true;
    if (impl.unsynced || pages >= checkpoint_pages) impl.background_changed.notify_one();
    return SQLITE_OK;
  };
  sqlite3_wal_hook(database.handle(), count_pages, this);
  reserve.bind(1, static_cast<std::int64_t>(reserved_until)).run();  // the log is open from here on
  log_file = database.log();
  background = std::thread([this] { work_in_background(); });
}

SqliteStore::Impl::~Impl() {
  {
    const std::lock_guard guard(background_mutex);
    stopping = true;
    background_changed.notify_one();
  }
  background.join();
  try {
    Change nothing;
    commit(nothing);
    database.execute("pragma synchronous=full");
    database.execute("pragma wal_checkpoint(truncate)");
  } catch (const std::exception& error) {
    note(std::string("closing the store: ") + error.what());
  }
}

/// Has a change written, by this thread or by one that is writing already. Throws what writing it threw.
void SqliteStore::Impl::commit(Change& change) {
  std::unique_lock guard(queue_mutex);
  queue.push_back(&change);
  queue_changed.wait(guard, [&] { return change.done || !writing; });
  while (!change.done) {
    writing = true;
    const std::vector<Change*> batch = std::exchange(queue, {});
    guard.unlock();
    write(batch);
    guard.lock();
    for (Change* each : batch) each->done = true;
    writing = false;
    queue_changed.notify_all();
  }
  if (change.error) std::rethrow_exception(change.error);
}

void SqliteStore::Impl::write(const std::vector<Change*>& changes) {
  Leftovers left;
  {
    const std::lock_guard guard(queue_mutex);
    left = std::exchange(leftovers, {});
  }
  const std::lock_guard guard(database_mutex);
  try {
    transact(changes, left);
    for (Change* change : changes) finish(*change);
  } catch (...) {
    leave_over(left.rows, left.forgotten_pairs);
    for (Change* change : changes) {
      if (changes.size() == 1) {
        change->error = std::current_exception();
        continue;
      }
      try {  // one that cannot be written does not take the others with it
        transact({change}, {});
        finish(*change);
      } catch (...) {
        change->error = std::current_exception();
      }
    }
  }
}

void SqliteStore::Impl::transact(const std::vector<Change*>& changes, const Leftovers& left) {
  begin.run();
  try {
    const auto remove_row = [&](EntryId id) { remove.bind(1, static_cast<std::int64_t>(id)).run(); };
    for (const EntryId id : left.rows) remove_row(id);
    for (const auto& [request, entry] : left.forgotten_pairs) {
      remove_pair.bind_blob(1, request.view()).bind_blob(2, entry.view()).run();
    }
    for (const Change* change : changes) {
      if (change->put != nullptr) {
        const Entry& entry = *change->put;
        if (entry.id >= reserved_until) {
          reserve.bind(1, static_cast<std::int64_t>(entry.id + ids_a_reservation)).run();
        }
        insert.write(entry);
      }
      for (const EntryId id : change->erase) remove_row(id);
      if (change->wrong_pair) {
        add_pair.bind_blob(1, change->wrong_pair->first.view()).bind_blob(2, change->wrong_pair->second.view()).run();
      }
    }
    end.run();
  } catch (...) {
    if (sqlite3_get_autocommit(database.handle()) == 0) {
      sqlite3_exec(database.handle(), "rollback", nullptr, nullptr, nullptr);
    }
    throw;
  }
}

/// Takes over into memory what is in the file by now.
void SqliteStore::Impl::finish(Change& change) {
  if (change.put == nullptr) return;
  while (change.put->id >= reserved_until) reserved_until = change.put->id + ids_a_reservation;
  change.removed = table.put(std::move(*change.put));
  std::vector<EntryId> rows;
  for (const EntryPointer& entry : change.removed) rows.push_back(entry->id);
  leave_over(rows);
}

void SqliteStore::Impl::leave_over(const std::vector<EntryId>& rows,
                                   const std::vector<store::Table::WrongPair>& forgotten) {
  const std::lock_guard guard(queue_mutex);
  leftovers.rows.insert(leftovers.rows.end(), rows.begin(), rows.end());
  leftovers.forgotten_pairs.insert(leftovers.forgotten_pairs.end(), forgotten.begin(), forgotten.end());
}

std::vector<EntryStore::EntryPointer> SqliteStore::Impl::erase_rows(std::vector<EntryPointer> removed) {
  if (removed.empty()) return removed;
  Change change;
  for (const EntryPointer& entry : removed) change.erase.push_back(entry->id);
  try {
    commit(change);
  } catch (const std::exception& error) {
    leave_over(change.erase);
    note(std::string("removed entries are still in the file, tried again later: ") + error.what());
  }
  return removed;
}

void SqliteStore::Impl::checkpoint(const std::string& path) {
  // A connection of its own does not keep writers waiting.
  store::Database connection = store::Database::open(path);
  connection.execute(options.sync == SyncMode::none ? "pragma synchronous=off" : "pragma synchronous=full");
  connection.execute("pragma wal_autocheckpoint=0");
  connection.execute("pragma wal_checkpoint(passive)");
}

void SqliteStore::Impl::work_in_background() {
  const std::string path = database.path();
  bool failing = false;
  std::unique_lock guard(background_mutex);
  for (;;) {
    background_changed.wait(guard, [&] { return stopping || unsynced || log_pages >= checkpoint_pages; });
    if (stopping) return;
    const auto start = std::chrono::steady_clock::now();
    const bool sync = std::exchange(unsynced, false);
    const int pages = log_pages;
    guard.unlock();
    bool failed = false;
    try {
      if (sync) database.sync(log_file);
      if (pages >= longest_log_pages) {
        const std::lock_guard connection(database_mutex);
        database.execute("pragma wal_checkpoint(truncate)");
      } else if (pages >= checkpoint_pages) {
        checkpoint(path);
      }
    } catch (const std::exception& error) {
      failed = true;
      if (!failing) note(std::string("bringing the store to disk: ") + error.what());
    }
    failing = failed;
    guard.lock();
    if (failed && sync) unsynced = true;
    if (!failed && pages >= checkpoint_pages && log_pages == pages) log_pages = 0;
    background_changed.wait_until(guard, start + options.sync_window, [&] { return stopping; });
  }
}

SqliteStore::SqliteStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteStore::~SqliteStore() = default;

std::shared_ptr<SqliteStore> SqliteStore::open(const std::string& path, SqliteStoreOptions options) {
  auto lock = std::make_unique<store::FileLock>(path);
  auto [database, content] = store::open_store_file(path, options.log);
  auto impl = std::make_unique<Impl>(std::move(options), std::move(lock), std::move(database), std::move(content));
  return std::shared_ptr<SqliteStore>(new SqliteStore(std::move(impl)));
}

EntryStore::PutResult SqliteStore::put(Entry entry) {
  if (!impl_->table.fits(entry)) return {};
  PutResult result;
  result.id = entry.id = impl_->next_id++;
  Change change;
  change.put = &entry;
  impl_->commit(change);
  result.removed = std::move(change.removed);
  return result;
}

EntryStore::EntryPointer SqliteStore::get(EntryId id) const { return impl_->table.get(id); }
EntryStore::EntryPointer SqliteStore::find(const Digest& key) const { return impl_->table.find(key); }
void SqliteStore::touch(EntryId id) { impl_->table.touch(id); }
void SqliteStore::extend(EntryId id, Entry::TimePoint expires) { impl_->table.extend(id, expires); }

std::vector<EntryStore::EntryPointer> SqliteStore::erase(const std::vector<EntryId>& ids) {
  return impl_->erase_rows(impl_->table.erase(ids));
}
std::vector<EntryStore::EntryPointer> SqliteStore::erase_expired(Entry::TimePoint now, std::size_t limit) {
  return impl_->erase_rows(impl_->table.erase_expired(now, limit));
}

std::size_t SqliteStore::size() const { return impl_->table.size(); }
std::size_t SqliteStore::bytes() const { return impl_->table.bytes(); }

void SqliteStore::for_each(const std::function<void(const EntryPointer&)>& visit) const {
  for (const EntryPointer& entry : impl_->table.all()) visit(entry);
}

void SqliteStore::for_each_with_vector(const std::function<void(const EntryPointer&)>& visit) const {
  std::vector<EntryPointer> part;
  {
    const std::lock_guard guard(impl_->database_mutex);
    part = std::exchange(impl_->loaded, {});
  }
  const bool all = !part.empty();
  EntryId last = 0;
  do {
    if (!all) {
      constexpr std::size_t rows = 256;
      const std::lock_guard guard(impl_->database_mutex);
      part.clear();
      store::RecordReader reader(impl_->database);
      reader.begin_behind(last);
      for (Entry entry; part.size() < rows;) {
        const store::RecordReader::Result result = reader.next(entry);
        if (result == store::RecordReader::Result::end) break;
        last = entry.id;
        if (result == store::RecordReader::Result::entry) part.push_back(std::make_shared<const Entry>(entry));
      }
    }
    for (const EntryPointer& read : part) {
      const EntryPointer live = impl_->table.get(read->id);
      if (!live) continue;  // replaced, evicted or erased, and not yet removed from the file
      auto entry = std::make_shared<Entry>(*live);
      entry->vector = read->vector;
      visit(entry);
    }
  } while (!all && !part.empty());
}

void SqliteStore::add_wrong_pair(const Digest& request, const Digest& entry) {
  impl_->leave_over({}, impl_->table.add_wrong_pair({request, entry}));
  Change change;
  change.wrong_pair.emplace(request, entry);
  impl_->commit(change);
}
bool SqliteStore::is_wrong_pair(const Digest& request, const Digest& entry) const {
  return impl_->table.is_wrong_pair({request, entry});
}
std::uint64_t SqliteStore::instance() const { return impl_->instance; }

void SqliteStore::flush() {
  Change nothing;
  impl_->commit(nothing);
  const std::lock_guard guard(impl_->database_mutex);
  impl_->database.sync(impl_->log_file);
  impl_->database.sync(impl_->database.main());
}

std::size_t SqliteStore::damaged_records() const { return impl_->damaged_records; }

}  // namespace promptcache
