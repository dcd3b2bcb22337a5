#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "support.hpp"

namespace test {
namespace {

int skipped_cases = 0;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

void note_skip(const std::string& reason) {
  ++skipped_cases;
  std::cerr << "SKIPPED: " << reason << std::endl;
}

std::string minilm_directory() {
  std::string path = environment("PROMPTCACHE_MODEL");
  if (path.empty()) path = PROMPTCACHE_TEST_MODEL;
  return std::filesystem::exists(path + "/model.safetensors") ? path : "";
}

std::string smollm2_file() {
  const std::string path = PROMPTCACHE_TEST_LLM;
  return std::filesystem::exists(path) ? path : "";
}

std::string real_data_directory() {
  const std::string path = environment("PROMPTCACHE_DATA");
  return std::filesystem::is_directory(path) ? path : "";
}

std::string data_file(const std::string& name) { return std::string(PROMPTCACHE_TEST_DATA) + "/" + name; }

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "promptcache-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot create " + pattern);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // a failed clean-up must not hide the test's own result
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::write(const std::string& name, const std::string& content) const {
  const std::string path = file(name);
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

}  // namespace test

int main(int argc, char** argv) {
  const int result = Catch::Session().run(argc, argv);
  return result == 0 && test::skipped_cases > 0 ? 77 : result;
}
