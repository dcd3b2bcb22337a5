#include "promptcache/base/file.hpp"

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "support.hpp"

using promptcache::AtomicFile;
using promptcache::ErrorCode;
using promptcache::read_file;
using promptcache::write_file_atomically;

TEST_CASE("an atomic write replaces the file and leaves nothing beside it") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("a", "old");
  write_file_atomically(path, "new");
  CHECK(read_file(path) == "new");
  CHECK_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST_CASE("an atomic write that is given up leaves the old file") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("a", "old");
  {
    AtomicFile file(path);
    file.write("half of the new");
  }
  CHECK(read_file(path) == "old");
  CHECK_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST_CASE("of two that write a file at once each leaves it whole") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("a");
  const auto content_of = [](char letter) { return std::string(3'000'000, letter); };
  std::vector<std::thread> writers;
  std::atomic<int> torn = 0, failed = 0;
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 5; ++i) {
        try {
          AtomicFile file(path);
          for (int part = 0; part < 3; ++part) file.write(content_of(letter).substr(0, 1'000'000));
          file.commit();
        } catch (const promptcache::Error&) {
          ++failed;
        }
        const std::string found = read_file(path);
        if (found != content_of(found.at(0))) ++torn;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(torn == 0);
  CHECK(failed == 0);
  CHECK_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST_CASE("a full disk is an error that names the file, and the old file survives") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.write("a", "old");
  std::filesystem::create_symlink("/dev/full", path + ".partial");
  test::require_error(ErrorCode::io, {"/a", "No space left"}, [&] { write_file_atomically(path, "new"); });
  CHECK(read_file(path) == "old");
}

TEST_CASE("reading a directory or a missing file names it") {
  const test::TemporaryDirectory directory;
  test::require_error(ErrorCode::access, {directory.path(), "directory"}, [&] { read_file(directory.path()); });
  test::require_error(ErrorCode::not_found, {"missing"}, [&] { read_file(directory.file("missing")); });
}
