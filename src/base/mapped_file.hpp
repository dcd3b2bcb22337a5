#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace promptcache {

/// A read-only mapping of a whole file. Replacing the file leaves it alone; a file that is cut off in place ends the
/// process when what is gone is read.
class MappedFile {
 public:
  /// Throws `Error(io)` or `Error(not_found)` naming the path and what was `wanted`.
  MappedFile(const std::string& path, const std::string& wanted);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace promptcache
