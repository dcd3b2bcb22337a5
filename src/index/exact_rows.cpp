#include "index/exact_rows.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "promptcache/base/error.hpp"

namespace promptcache::index {
namespace {

constexpr const char* wanted = "room for a file of vectors";

int open_unnamed(const VectorStorage& storage) {
  const std::string directory =
      storage.directory.empty() ? std::filesystem::temp_directory_path().string() : storage.directory;
  std::string path = directory + "/promptcache-vectors-XXXXXX";
  const int file = ::mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) throw system_error({directory}, errno, wanted);
  ::unlink(path.c_str());  // gone with the process, however that ends
  return file;
}

}  // namespace

ExactRows::ExactRows(std::size_t width, const VectorStorage& storage)
    : width_(width), kept_(storage.exact != ExactVectors::none), memory_(width) {
  if (storage.exact == ExactVectors::in_file) file_ = open_unnamed(storage);
}

ExactRows::~ExactRows() {
  for (const Mapping& mapping : mapped_) ::munmap(mapping.data, mapping.bytes);
  if (file_ >= 0) ::close(file_);
}

void ExactRows::map_chunk() {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t bytes = (RowPlace::rows_of(mapped_.size()) * width_ * sizeof(float) + page - 1) / page * page;
  mapped_.reserve(mapped_.size() + 1);
  // Blocks of its own: to write to a hole of a full disk through a mapping would end the process.
  const int full = ::posix_fallocate(file_, static_cast<off_t>(file_bytes_), static_cast<off_t>(bytes));
  if (full != 0) throw system_error({"file of vectors"}, full, wanted);
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, static_cast<off_t>(file_bytes_));
  if (data == MAP_FAILED) throw system_error({"file of vectors"}, errno, wanted);
  file_bytes_ += bytes;
  mapped_.push_back({static_cast<float*>(data), bytes});
}

void ExactRows::resize(std::size_t rows) {
  if (!kept_) return;
  if (file_ < 0) return memory_.resize(rows);
  while (rows > 0 && mapped_.size() <= RowPlace::of(rows - 1).chunk) map_chunk();
}

void ExactRows::write(std::size_t row, std::span<const float> vector) {
  if (kept_) std::copy(vector.begin(), vector.end(), const_cast<float*>(read(row)));
}

const float* ExactRows::read(std::size_t row) const {
  if (file_ < 0) return memory_.row(row);
  const RowPlace place = RowPlace::of(row);
  return mapped_[place.chunk].data + place.row * width_;
}

}  // namespace promptcache::index
