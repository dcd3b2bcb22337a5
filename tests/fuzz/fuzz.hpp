#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "promptcache/base/error.hpp"

namespace fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A private copy of a tiny model, made on first use and removed at exit; `name` may be empty for an empty directory.
class Directory {
 public:
  explicit Directory(const std::string& name) {
    std::string pattern = (std::filesystem::temp_directory_path() / "promptcache_fuzz_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
    if (!name.empty()) {
      std::filesystem::copy(std::string(PROMPTCACHE_TEST_DATA) + "/" + name, path_,
                            std::filesystem::copy_options::recursive);
    }
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const std::string& path() const { return path_; }
  std::string write(const std::string& name, std::string_view content) const {
    std::ofstream(path_ + "/" + name, std::ios::binary)
        .write(content.data(), static_cast<std::streamsize>(content.size()));
    return path_ + "/" + name;
  }
  void remove(const std::string& name) const { std::filesystem::remove(path_ + "/" + name); }
  /// `name` as it is in `original`, or away if there is no such file.
  void restore(const std::string& name, const std::string& original) const {
    remove(name);
    if (std::filesystem::exists(original)) std::filesystem::copy_file(original, path_ + "/" + name);
  }

 private:
  std::string path_;
};

/// Bad input may throw `promptcache::Error` and nothing else.
template <class Action>
void errors_only(Action&& action) {
  try {
    action();
  } catch (const promptcache::Error&) {
  }
}

}  // namespace fuzz
