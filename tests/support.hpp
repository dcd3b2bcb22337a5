#pragma once

#include <filesystem>
#include <string>

#include "catch.hpp"
#include "promptcache/base/error.hpp"

namespace test {

/// Notes that the running case could not do its work; the process then exits with 77 if nothing failed.
void note_skip(const std::string& reason);

/// Leaves the running case and reports it to ctest as skipped.
#define PROMPTCACHE_SKIP(reason) \
  do {                           \
    test::note_skip(reason);     \
    return;                      \
  } while (false)

/// Directory of the real MiniLM, or empty when scripts/fetch_model.sh has not been run.
std::string minilm_directory();

/// The real SmolLM2, a GGUF file, or empty when scripts/fetch_model.sh has not been run for it.
std::string smollm2_file();

/// PROMPTCACHE_DATA, or empty when it is not set.
std::string real_data_directory();

/// A small golden file of the repository.
std::string data_file(const std::string& name);

/// A fresh directory, removed with everything in it at the end of the scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Writes a file into the directory and returns its path.
  std::string write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

/// Runs `action`, which must throw `promptcache::Error` with this code and all these pieces in its message.
template <class Action>
void require_error(promptcache::ErrorCode code, std::initializer_list<std::string> pieces, Action&& action) {
  try {
    action();
  } catch (const promptcache::Error& error) {
    const std::string message = error.what();
    INFO(message);
    CHECK(std::string(to_string(error.code())) == to_string(code));
    for (const std::string& piece : pieces) {
      INFO("wanted in the message: " << piece);
      CHECK(message.find(piece) != std::string::npos);
    }
    return;
  }
  FAIL("no promptcache::Error was thrown");
}

}  // namespace test

#define PROMPTCACHE_REQUIRE_MINILM()                                                \
  do {                                                                              \
    if (test::minilm_directory().empty())                                           \
      PROMPTCACHE_SKIP("the real MiniLM is not there: run scripts/fetch_model.sh"); \
  } while (false)

#define PROMPTCACHE_REQUIRE_SMOLLM2()                                                    \
  do {                                                                                   \
    if (test::smollm2_file().empty())                                                    \
      PROMPTCACHE_SKIP("the real SmolLM2 is not there: scripts/fetch_model.sh smollm2"); \
  } while (false)

#define PROMPTCACHE_REQUIRE_REAL_DATA()                                                                             \
  do {                                                                                                              \
    if (test::real_data_directory().empty()) PROMPTCACHE_SKIP("PROMPTCACHE_DATA does not name the real data sets"); \
  } while (false)
