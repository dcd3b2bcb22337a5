#include "embed/weights_notes.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <oneapi/dnnl/dnnl.hpp>

#include "embed/matrix_product.hpp"  // cpu_engine
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/base/isa.hpp"
#include "promptcache/version.hpp"

namespace promptcache::embed {
namespace {

constexpr std::uint64_t nanoseconds = 1'000'000'000;

}  // namespace

std::string kernel_versions() {
  cpu_engine();  // limits oneDNN to the active instruction set
  const dnnl_version_t* version = dnnl_version();
  return "promptcache " PROMPTCACHE_VERSION ", " + std::string(active_isa()) + ", oneDNN " +
         std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch) +
         ", its set " + std::to_string(static_cast<int>(dnnl::get_effective_cpu_isa()));
}

WeightsNotes::WeightsNotes(const std::string& weights_path)
    : path_((std::filesystem::path(weights_path).parent_path() / "promptcache-notes.json").string()),
      weights_path_(weights_path),
      stamp_(stamp_of(weights_path)) {
  if (read()) return;
  agreements_.clear();
  digest_ = sha256_file(weights_path);
  changed_ = stamp_of(weights_path) == stamp_;
}

WeightsNotes::Stamp WeightsNotes::stamp_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw system_error({path}, errno, "the model's weights");
  return {static_cast<std::uint64_t>(status.st_size),
          static_cast<std::uint64_t>(status.st_mtim.tv_sec) * nanoseconds +
              static_cast<std::uint64_t>(status.st_mtim.tv_nsec),
          static_cast<std::uint64_t>(status.st_ino)};
}

bool WeightsNotes::read() {
  try {
    if (!std::filesystem::exists(path_)) return false;
    const nlohmann::json notes = nlohmann::json::parse(read_file(path_));
    const Stamp stamp{notes.at("size").get<std::uint64_t>(), notes.at("modified_ns").get<std::uint64_t>(),
                      notes.at("inode").get<std::uint64_t>()};
    const std::optional<Digest> digest = Digest::from_hex(notes.at("sha256").get<std::string>());
    if (!(stamp == stamp_) || !digest) return false;
    digest_ = *digest;
    notes.at("agreements").get_to(agreements_);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::optional<double> WeightsNotes::agreement(const std::string& check) const {
  const auto found = agreements_.find(check + ", " + kernel_versions());
  return found == agreements_.end() ? std::nullopt : std::optional(found->second);
}

void WeightsNotes::set_agreement(const std::string& check, double agreement) {
  agreements_[check + ", " + kernel_versions()] = agreement;
  changed_ = true;
}

bool WeightsNotes::settled() const {
  const auto now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
  const bool young = static_cast<std::uint64_t>(now.count()) < stamp_.modified_ns + 2 * nanoseconds;
  return !young && stamp_of(weights_path_) == stamp_;
}

void WeightsNotes::save() noexcept {
  try {
    if (!changed_ || !settled()) return;
    const nlohmann::json notes = {{"size", stamp_.size},
                                  {"modified_ns", stamp_.modified_ns},
                                  {"inode", stamp_.inode},
                                  {"sha256", digest_.hex()},
                                  {"agreements", agreements_}};
    write_file_atomically(path_, notes.dump(2) + "\n");
    changed_ = false;
  } catch (const std::exception&) {  // read-only, or full
  }
}

}  // namespace promptcache::embed
