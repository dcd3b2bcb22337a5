#pragma once

#include <string>
#include <string_view>

namespace promptcache {

/// A file being replaced so that after a crash or a full disk either the old or the new content is there, whole:
/// written beside it as `<path>.partial`, flushed to disk, renamed by `commit`. Another process, or object, that
/// writes the same file waits meanwhile. Not thread-safe.
///
///     AtomicFile file("model.safetensors");
///     file.write(header);
///     file.commit();
class AtomicFile {
 public:
  /// Throws `Error(io)` naming the path when the place is not writable.
  explicit AtomicFile(std::string path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();  ///< without `commit` the old file stays and the partial one is removed

  void write(std::string_view bytes);  ///< Throws `Error(io)`.
  void commit();                       ///< Throws `Error(io)`; the old file survives.

 private:
  [[noreturn]] void fail(int error_number);

  std::string path_;
  std::string partial_;
  int descriptor_ = -1;
};

/// `AtomicFile` in one call.
void write_file_atomically(const std::string& path, std::string_view content);

/// The whole content of a regular file. Throws `Error` naming the path: not_found, io (a directory, say).
std::string read_file(const std::string& path);

}  // namespace promptcache
