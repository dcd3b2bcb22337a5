#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "index/rows.hpp"
#include "promptcache/index/vector_storage.hpp"

namespace promptcache::index {

/// Vectors as they were given, by row, wherever `VectorStorage` wants them. Not thread-safe.
class ExactRows {
 public:
  ExactRows(std::size_t width, const VectorStorage& storage);
  ~ExactRows();
  ExactRows(const ExactRows&) = delete;
  ExactRows& operator=(const ExactRows&) = delete;

  bool kept() const noexcept { return kept_; }

  /// Makes room. Throws `Error(io)` when the file has none, and `std::bad_alloc`; nothing has changed then.
  void resize(std::size_t rows);

  void write(std::size_t row, std::span<const float> vector);  ///< nothing when vectors are not kept
  const float* read(std::size_t row) const;                    ///< only when they are

 private:
  struct Mapping {
    float* data = nullptr;
    std::size_t bytes = 0;
  };
  void map_chunk();

  std::size_t width_;
  bool kept_;
  Rows<float> memory_;
  int file_ = -1;
  std::size_t file_bytes_ = 0;
  std::vector<Mapping> mapped_;
};

}  // namespace promptcache::index
