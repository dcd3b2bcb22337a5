#include "promptcache/base/file.hpp"

#include <filesystem>

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
