#pragma once

#include <algorithm>  // min
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace promptcache {

/// Name of a stored entry; never reused within a store.
using EntryId = std::uint64_t;

/// A neighbour found by a search.
struct Candidate {
  EntryId id = 0;
  float similarity = 0;  ///< cosine, in [-1, 1]
};

/// Nearest neighbours among unit vectors. Safe from many threads, adding beside searching included.
class SimilarityIndex {
 public:
  virtual ~SimilarityIndex() = default;

  virtual std::size_t dimension() const = 0;

  /// Memory that an entry takes, for the bounds of a store.
  virtual std::size_t bytes_per_entry() const { return dimension() * sizeof(float) + 64; }

  virtual std::size_t size() const = 0;

  /// Adds an L2-normalised vector; an id that is present already is replaced.
  /// Throws `Error`: usage for another length, numeric for NaN or infinity.
  virtual void add(EntryId id, std::span<const float> vector) = 0;

  /// Removes an entry; false when it was not there.
  virtual bool remove(EntryId id) = 0;

  /// Writes up to `out.size()` entries, most similar first, ties by smaller id, and returns how many. Throws as `add`.
  virtual std::size_t search(std::span<const float> vector, std::span<Candidate> out) const = 0;

  /// The same, for up to `k` entries.
  std::vector<Candidate> search(std::span<const float> vector, std::size_t k) const {
    std::vector<Candidate> result(std::min(k, size()));
    result.resize(search(vector, result));
    return result;
  }
};

}  // namespace promptcache
