#pragma once

#include <memory>
#include <vector>

#include "promptcache/index/similarity_index.hpp"
#include "promptcache/index/vector_storage.hpp"

namespace promptcache {

/// Exact nearest neighbours by a scan over all vectors: the oracle of every other index, and the fastest one while a
/// scope is small. The scan reads codes of 8 bits a value and leaves the few entries that can be the nearest, which are
/// compared in f32, so that results are those of a scan in f32, bit for bit (but for `ExactVectors::none`). Memory: 5
/// bytes a value, or 1 with the vectors in a file or given up, and about 60 an entry. Adding and removing cost
/// O(dimension), a search O(size * dimension) and, from the second one of a thread on, no memory; searches run beside
/// each other.
class FlatIndex : public SimilarityIndex {
 public:
  /// Throws `Error(usage)` for dimension 0, not_found, access or io when there is no file to be had.
  explicit FlatIndex(std::size_t dimension, const VectorStorage& storage = {});
  ~FlatIndex() override;

  using SimilarityIndex::search;
  std::size_t dimension() const override;
  std::size_t bytes_per_entry() const override;
  std::size_t size() const override;
  void add(EntryId id, std::span<const float> vector) override;
  bool remove(EntryId id) override;
  std::size_t search(std::span<const float> vector, std::span<Candidate> out) const override;

  std::vector<EntryId> ids() const;                   ///< in no particular order
  bool read(EntryId id, std::span<float> out) const;  ///< copies a vector out; false when the entry is not there

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
