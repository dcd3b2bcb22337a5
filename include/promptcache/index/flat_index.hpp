#pragma once

#include <unordered_map>
#include <vector>

#include "promptcache/base/fair_shared_mutex.hpp"
#include "promptcache/index/similarity_index.hpp"

namespace promptcache {

/// Exact nearest neighbours by a scan over all vectors: the oracle of every other index, and the fastest one while a
/// scope is small. Memory: 4 bytes a value and about 30 an entry. Adding and removing cost O(dimension), a search
/// O(size * dimension); searches run beside each other.
class FlatIndex : public SimilarityIndex {
 public:
  /// Throws `Error(usage)` for dimension 0.
  explicit FlatIndex(std::size_t dimension);

  std::size_t dimension() const override { return dimension_; }
  std::size_t size() const override;
  void add(EntryId id, std::span<const float> vector) override;
  bool remove(EntryId id) override;
  std::vector<Candidate> search(std::span<const float> vector, std::size_t k) const override;

  std::vector<EntryId> ids() const;                   ///< in no particular order
  bool read(EntryId id, std::span<float> out) const;  ///< copies a vector out; false when the entry is not there

 private:
  std::size_t dimension_;
  mutable FairSharedMutex mutex_;
  std::vector<float> rows_;  // [size, dimension], without holes: the last row fills a removed one's place
  std::vector<EntryId> ids_;
  std::unordered_map<EntryId, std::size_t> place_of_;
};

}  // namespace promptcache
