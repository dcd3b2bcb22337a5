#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "promptcache/index/hnsw_index.hpp"

namespace promptcache::index {

/// One hnswlib graph with the bookkeeping around it: entries of equal vectors share a node, nodes of removed entries
/// stay for the ways that lead through them. Not thread-safe, but for searches beside each other.
class Graph {
 public:
  Graph(std::size_t dimension, const HnswOptions& options);
  ~Graph();

  std::size_t size() const;        ///< entries
  std::size_t nodes() const;       ///< dead ones included
  std::size_t dead_nodes() const;  ///< those without an entry
  std::vector<EntryId> ids() const;
  bool read(EntryId id, std::span<float> out) const;

  void add(EntryId id, std::span<const float> vector);  ///< the id must be new; the vector checked
  bool remove(EntryId id);
  std::size_t search(std::span<const float> vector, std::span<Candidate> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache::index
