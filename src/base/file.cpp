#include "promptcache/base/file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr const char* wanted_to_save = "room and permission to save the file";

void flush_directory(const std::string& path) {
  std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (parent.empty()) parent = ".";
  const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  // Some file systems refuse fsync on a directory; the rename itself has succeeded by then.
  (void)::fsync(directory);
  ::close(directory);
}

/// Opens and empties a file that another process may be writing too: waits for it, and begins anew when the other has
/// moved the file to its place meanwhile. Negative with errno on failure.
int open_alone(const std::string& path) {
  for (;;) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0) return descriptor;
    while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
    }  // a file system without locks has no two writers
    struct stat ours {
    }, there{};
    const bool same = ::fstat(descriptor, &ours) == 0 && ::stat(path.c_str(), &there) == 0 &&
                      ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
    if (same && (!S_ISREG(ours.st_mode) || ::ftruncate(descriptor, 0) == 0)) return descriptor;
    const int error_number = errno;
    ::close(descriptor);
    errno = error_number;
    if (same) return -1;
  }
}

}  // namespace

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {
  descriptor_ = open_alone(partial_);
  if (descriptor_ < 0) throw system_error({path_}, errno, wanted_to_save);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::unlink(partial_.c_str());  // before the lock ends
  ::close(descriptor_);
}

void AtomicFile::fail(int error_number) {
  ::unlink(partial_.c_str());
  ::close(std::exchange(descriptor_, -1));
  throw system_error({path_}, error_number, wanted_to_save);
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(errno);
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail(errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail(errno);
  ::close(std::exchange(descriptor_, -1));  // after the renaming, as it ends the lock
  flush_directory(path_);
}

void write_file_atomically(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw system_error({path}, errno, "a readable file");
  std::string content;
  std::string block(1 << 16, '\0');
  for (;;) {
    const ssize_t got = ::read(descriptor, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      const int error_number = errno;
      ::close(descriptor);
      if (got < 0) throw system_error({path}, error_number, "a readable file");
      return content;
    }
    content.append(block, 0, static_cast<std::size_t>(got));
  }
}

}  // namespace promptcache
