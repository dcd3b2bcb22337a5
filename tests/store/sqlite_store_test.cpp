// What SqliteStore promises beyond a process's life.
#include "promptcache/store/sqlite_store.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "promptcache/base/file.hpp"
#include "promptcache/store/json_lines.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

Entry entry(int number) {
  Entry result;
  result.key = sha256(std::to_string(number));
  result.scope = sha256("scope " + std::to_string(number % 3));
  result.fields = std::make_shared<Entry::Fields>(Entry::Fields{{"tmodel", std::to_string(number % 3)}});
  result.prompt = "prompt " + std::to_string(number);
  result.response = "response " + std::to_string(number) + std::string("\0\xff", 2);
  result.chunks = {3, static_cast<std::uint32_t>(result.response.size() - 3)};
  result.cost = 0.1 * number;
  result.tags = {"one", std::string("t\0o", 3), ""};
  result.created = Entry::TimePoint(std::chrono::microseconds(1'000'000 + number));
  result.lifetime = std::chrono::milliseconds(number);
  if (number % 2 == 0) result.expires = Entry::TimePoint(std::chrono::seconds(1'000'000'000));
  result.embedder = sha256("embedder");
  result.vector = {0.5F, static_cast<float>(number), -1};
  return result;
}

void check_same(const Entry& found, const Entry& wanted, bool with_vector) {
  CHECK(found.key == wanted.key);
  CHECK(found.scope == wanted.scope);
  REQUIRE(found.fields);
  CHECK(*found.fields == *wanted.fields);
  CHECK(found.prompt == wanted.prompt);
  CHECK(found.response == wanted.response);
  CHECK(found.chunks == wanted.chunks);
  CHECK(found.cost == wanted.cost);
  CHECK(found.tags == wanted.tags);
  CHECK(found.created == wanted.created);
  CHECK(found.lifetime == wanted.lifetime);
  CHECK(found.expires == wanted.expires);
  CHECK(found.embedder == wanted.embedder);
  if (with_vector) CHECK(found.vector == wanted.vector);
}

/// Numbers of the entries that a store has, each checked to be whole.
std::vector<int> numbers(const EntryStore& store) {
  std::vector<int> result;
  store.for_each_with_vector([&](const EntryStore::EntryPointer& each) {
    const int number = std::stoi(each->prompt.substr(7));
    check_same(*each, entry(number), true);
    result.push_back(number);
  });
  std::sort(result.begin(), result.end());
  return result;
}

struct Fixture {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("store.db");
  std::vector<std::string> log;

  std::shared_ptr<SqliteStore> open(SqliteStoreOptions options = {}) {
    options.log = [this](LogLevel, std::string_view text) { log.emplace_back(text); };
    return SqliteStore::open(path, options);
  }
  void fill(int count) {
    const auto store = open({.sync = SyncMode::none});
    for (int i = 0; i < count; ++i) store->put(entry(i));
  }
};

/// Runs `action` in a process of its own; returns how that ended.
template <class Action>
int in_child(Action&& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      action();
    } catch (...) {
      ::_exit(3);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a store opened again has what it had") {
  std::uint64_t instance = 0;
  EntryId last = 0;
  {
    const auto store = open();
    instance = store->instance();
    for (int i = 0; i < 10; ++i) last = store->put(entry(i)).id;
    store->put(entry(3));  // replaces
    last = store->put(entry(99)).id;
    store->erase({last, 1});
    store->add_wrong_pair(sha256("a"), sha256("b"));
    CHECK(numbers(*store) == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  }
  const auto store = open();
  CHECK(store->instance() == instance);
  CHECK(store->is_wrong_pair(sha256("a"), sha256("b")));
  CHECK_FALSE(store->is_wrong_pair(sha256("b"), sha256("a")));
  CHECK(numbers(*store) == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(numbers(*store) == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9});  // read from the file this time
  check_same(*store->find(sha256("3")), entry(3), false);
  CHECK(store->put(entry(5)).id > last);
  CHECK(store->damaged_records() == 0);
  CHECK(log.empty());
}

TEST_CASE_METHOD(Fixture, "bounds hold when a store is opened with smaller ones") {
  fill(20);
  const auto store = open({.limits = {.max_entries = 5}});
  CHECK(numbers(*store) == std::vector<int>{15, 16, 17, 18, 19});
}

TEST_CASE_METHOD(Fixture, "one process at a time, and one store in it") {
  const auto store = open();
  test::require_error(ErrorCode::busy, {"store.db", "process " + std::to_string(::getpid())}, [&] { open(); });
  const int status = in_child([&] {
    try {
      SqliteStore::open(path);
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::busy ? 42 : 1);
    }
  });
  CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE_METHOD(Fixture, "what is no store is refused, and left as it is") {
  test::require_error(ErrorCode::access, {directory.path()}, [&] { SqliteStore::open(directory.path()); });
  test::require_error(ErrorCode::not_found, {"nowhere"},
                      [&] { SqliteStore::open(directory.file("nowhere/store.db")); });
  const std::string text(50'000, 'x');
  directory.write("store.db", text);
  test::require_error(ErrorCode::format, {"store.db"}, [&] { open(); });
  CHECK(read_file(path) == text);
  std::filesystem::remove(path);
  sqlite3* other = nullptr;
  sqlite3_open(path.c_str(), &other);
  sqlite3_exec(other, "create table notes (text)", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  test::require_error(ErrorCode::mismatch, {"another program"}, [&] { open(); });
  std::filesystem::remove(path);
  open();
  sqlite3_open(path.c_str(), &other);
  sqlite3_exec(other, "pragma user_version = 99", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  test::require_error(ErrorCode::unsupported, {"version 99"}, [&] { open(); });
}

TEST_CASE_METHOD(Fixture, "a killed process loses nothing that was acknowledged") {
  const char* wanted = std::getenv("PROMPTCACHE_TEST_KILLS");  // in each mode
  const unsigned kills = wanted != nullptr ? static_cast<unsigned>(std::stoul(wanted)) : 10;
  for (const SyncMode sync : {SyncMode::each, SyncMode::grouped, SyncMode::none}) {
    std::filesystem::remove(path);
    std::filesystem::remove(path + "-wal");
    const std::string acknowledged = directory.file("acknowledged");
    for (unsigned round = 0; round < kills; ++round) {
      std::filesystem::remove(acknowledged);
      const int first = static_cast<int>(round) * 100'000;
      const pid_t child = ::fork();
      if (child == 0) {
        const auto store = SqliteStore::open(path, {.sync = sync});
        const int file = ::open(acknowledged.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
        for (int i = first;; ++i) {
          store->put(entry(i));
          if (::write(file, &i, sizeof(i)) != sizeof(i)) ::_exit(1);
        }
      }
      std::this_thread::sleep_for(std::chrono::microseconds(3000 + 7919 * round % 60'000));
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      const auto store = open({.sync = sync});
      const std::string bytes = std::filesystem::exists(acknowledged) ? read_file(acknowledged) : "";
      const int last = first + static_cast<int>(bytes.size() / sizeof(int));
      for (int i = first; i < last; ++i) {
        const auto found = store->find(sha256(std::to_string(i)));
        REQUIRE(found);
        REQUIRE(found->prompt == entry(i).prompt);
      }
      CHECK(store->damaged_records() == 0);
    }
  }
  CHECK(log.empty());
}

TEST_CASE_METHOD(Fixture, "a full disk makes an error, and neither memory nor file loses anything") {
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const auto store = SqliteStore::open(path, {.sync = SyncMode::grouped});
    int stored = 0;
    for (; stored < 20; ++stored) store->put(entry(stored));
    const rlimit limit{400'000, RLIM_INFINITY};  // of a file's size: what a full disk answers, but for its number
    ::setrlimit(RLIMIT_FSIZE, &limit);
    bool refused = false;
    for (; stored < 10'000; ++stored) {
      try {
        Entry large = entry(stored);
        store->put(std::move(large));
      } catch (const Error& error) {
        refused = error.code() == ErrorCode::io;
        break;
      }
    }
    if (!refused || store->size() != static_cast<std::size_t>(stored)) ::_exit(4);
    for (int i = 0; i < stored; ++i) {
      if (!store->find(sha256(std::to_string(i)))) ::_exit(5);
    }
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &none);
    store->put(entry(stored));  // and it goes on once there is room
    std::ofstream(directory.file("stored")) << stored;
  });
  REQUIRE(WEXITSTATUS(status) == 0);
  const int stored = std::stoi(read_file(directory.file("stored")));
  CHECK(numbers(*open()).size() == static_cast<std::size_t>(stored) + 1);
}

TEST_CASE_METHOD(Fixture, "a flipped byte anywhere is noticed, and costs at most the records it touches") {
  constexpr int count = 60;
  fill(count);
  const std::string sound = read_file(path);
  REQUIRE(sound.size() > 30'000);
  std::mt19937 random(5);
  std::size_t least = count;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = sound;
    // The first page now and then: it holds the file's head and the list of tables.
    const std::size_t place = random() % (round % 4 == 0 ? 8192 : bytes.size());
    bytes[place] = static_cast<char>(bytes[place] ^ (1 << random() % 8));
    for (const auto& each : std::filesystem::directory_iterator(directory.path())) std::filesystem::remove(each);
    directory.write("store.db", bytes);
    log.clear();
    CAPTURE(place);
    const auto store = open();
    const std::vector<int> found = numbers(*store);  // each whole
    if (found.size() < count) CHECK_FALSE(log.empty());
    least = std::min(least, found.size());
    CHECK(store->put(entry(1000)).id > 0);
  }
  // A page holds 25 of these short records.
  CHECK(least >= count - 40);
}

TEST_CASE_METHOD(Fixture, "a flipped byte anywhere in the write-ahead log is noticed, and mostly put right") {
  constexpr int count = 60;
  std::string sound;
  std::string log_bytes;
  {
    const auto store = open({.sync = SyncMode::none});
    for (int i = 0; i < count; ++i) store->put(entry(i));
    sound = read_file(path);
    log_bytes = read_file(path + "-wal");
  }
  REQUIRE(log_bytes.size() > 500'000);
  const auto open_with = [&](const std::string& damaged) {
    for (const auto& each : std::filesystem::directory_iterator(directory.path())) std::filesystem::remove(each);
    directory.write("store.db", sound);
    directory.write("store.db-wal", damaged);
    log.clear();
    return open();
  };
  constexpr std::size_t head = 32;
  constexpr std::size_t frame = 24 + 8192;
  std::mt19937 random(6);
  int complete = 0;
  std::size_t least = count;
  for (int round = 0; round < 200; ++round) {
    std::string bytes = log_bytes;
    std::size_t place = random() % bytes.size();
    if (round % 4 == 0) place = random() % head;
    if (round % 4 == 1) place = head + random() % (bytes.size() / frame) * frame + random() % 24;
    bytes[place] = static_cast<char>(bytes[place] ^ (1 + random() % 255));
    CAPTURE(place);
    const auto store = open_with(bytes);
    REQUIRE_FALSE(log.empty());
    CHECK(log[0].find("store.db-wal.damaged") != std::string::npos);
    const std::size_t found = numbers(*store).size();  // each whole
    if (found == count) {
      ++complete;
      CHECK(store->damaged_records() == 0);
    } else {
      CHECK(store->damaged_records() > 0);
    }
    least = std::min(least, found);
    REQUIRE(read_file(path + "-wal.damaged") == bytes);
  }
  CHECK(complete > 150);
  CHECK(least >= count - 40);
  std::string twice = log_bytes;
  twice[twice.size() / 2] ^= 1;
  twice[twice.size() / 2 + 1] ^= 1;
  const auto store = open_with(twice);
  const std::size_t found = numbers(*store).size();
  CHECK(found > 10);
  CHECK(found < count - 10);
  CHECK(store->damaged_records() + found >= count - 2);
  REQUIRE(log.size() == 1);
  CHECK(log[0].find("are lost") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "a torn end of the file costs what stood there") {
  fill(200);
  const std::string sound = read_file(path);
  directory.write("store.db", sound.substr(0, sound.size() - 10'000));
  const auto store = open();
  const std::vector<int> found = numbers(*store);
  CHECK(found.size() > 100);
  CHECK(found.size() < 200);
  CHECK(store->damaged_records() > 0);
  REQUIRE_FALSE(log.empty());
  CHECK(log.back().find("store.db.damaged") != std::string::npos);
  CHECK(std::filesystem::exists(path + ".damaged"));
}

TEST_CASE_METHOD(Fixture, "entries are exported and imported as lines of JSON") {
  fill(5);
  std::stringstream lines;
  CHECK(export_entries(*open(), lines, "lines") == 5);
  std::filesystem::remove(path);
  const auto store = open();
  CHECK(import_entries(*store, lines, "lines") == 5);
  CHECK(numbers(*store) == std::vector<int>{0, 1, 2, 3, 4});
  for (const auto& [find, replace] :
       std::vector<std::pair<std::string, std::string>>{{"\"key\":\"", "\"key\":\"x"},
                                                        {"\"prompt\"", "\"p\""},
                                                        {"\"cost\":", "\"cost\":\"\",\"c\":"},
                                                        {"\"chunks\":[3", "\"chunks\":[4"},
                                                        {"base64\":\"", "base64\":\"*"},
                                                        {"{", ""}}) {
    std::string line = lines.str().substr(0, lines.str().find('\n'));
    line.replace(line.find(find), find.size(), replace);
    std::istringstream broken(lines.str().substr(0, lines.str().find('\n') + 1) + line);
    INFO(line);
    test::require_error(ErrorCode::format, {"lines:2"}, [&] { import_entries(*store, broken, "lines"); });
  }
}

TEST_CASE_METHOD(Fixture, "flush brings everything to the disk, and a long log is moved into the file") {
  const auto store = open({.sync = SyncMode::grouped, .sync_window = std::chrono::milliseconds(1)});
  Entry large = entry(0);
  large.response = std::string(50'000, 'r');
  for (int i = 0; i < 400; ++i) {
    Entry each = large;
    each.key = sha256("large " + std::to_string(i));
    store->put(std::move(each));
    if (i % 50 == 0) store->flush();
  }
  // 20 MB were written; in the background the log went into the file and began anew.
  for (int i = 0; i < 500 && std::filesystem::file_size(path) < 10'000'000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(std::filesystem::file_size(path) > 10'000'000);
  CHECK(store->size() == 400);
}
