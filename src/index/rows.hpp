#pragma once

#include <hwy/aligned_allocator.h>
#include <algorithm>
#include <bit>
#include <cstddef>
#include <new>
#include <vector>

namespace promptcache::index {

/// Rows lie in chunks, so that no row moves when there are more and none is copied for that: 16 rows in the first
/// chunk, twice as many in each that follows, up to 4,096. A small scope takes little, a large one grows without a
/// stop.
struct RowPlace {
  static constexpr std::size_t first_rows = 16;
  static constexpr std::size_t doublings = 8;
  static constexpr std::size_t doubling_rows = first_rows * ((std::size_t{1} << doublings) - 1);  // of chunks below 8

  std::size_t chunk = 0;
  std::size_t row = 0;  // in its chunk

  static constexpr std::size_t rows_of(std::size_t chunk) { return first_rows << std::min(chunk, doublings); }

  static constexpr RowPlace of(std::size_t index) {
    if (index >= doubling_rows) {
      const std::size_t beyond = index - doubling_rows;
      return {doublings + beyond / rows_of(doublings), beyond % rows_of(doublings)};
    }
    const std::size_t chunk = static_cast<std::size_t>(std::bit_width(index / first_rows + 1)) - 1;
    return {chunk, index - first_rows * ((std::size_t{1} << chunk) - 1)};
  }
};

/// Rows of `width` values in memory. Not thread-safe.
template <class T>
class Rows {
 public:
  explicit Rows(std::size_t width) : width_(width) {}

  T* row(std::size_t index) {
    const RowPlace place = RowPlace::of(index);
    return chunks_[place.chunk].get() + place.row * width_;
  }
  const T* row(std::size_t index) const { return const_cast<Rows*>(this)->row(index); }
  const T* chunk(std::size_t index) const { return chunks_[index].get(); }

  /// Makes room for so many rows; gives back chunks that a further one leaves unused.
  void resize(std::size_t rows) {
    const std::size_t wanted = rows == 0 ? 0 : RowPlace::of(rows - 1).chunk + 1;
    while (chunks_.size() < wanted) {
      chunks_.reserve(chunks_.size() + 1);
      auto chunk = hwy::AllocateAligned<T>(RowPlace::rows_of(chunks_.size()) * width_);
      if (chunk == nullptr) throw std::bad_alloc();
      chunks_.push_back(std::move(chunk));
    }
    while (chunks_.size() > wanted + 1) chunks_.pop_back();
  }

 private:
  std::size_t width_;
  std::vector<hwy::AlignedFreeUniquePtr<T[]>> chunks_;
};

}  // namespace promptcache::index
