#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "promptcache/index/similarity_index.hpp"
#include "promptcache/index/vector_storage.hpp"

namespace promptcache {

struct HnswOptions {
  std::size_t m = 16;                 ///< links of a node on the upper levels; twice as many on the lowest
  std::size_t ef_construction = 120;  ///< candidates looked at when linking a node
  std::size_t ef_search = 180;        ///< candidates kept in a search; more: better recall, slower
  std::size_t graph_from = 8192;      ///< below this many entries all are scanned exactly; 0: always a graph
  double rebuild_after = 0.5;         ///< rebuilt when there are so many nodes of removed entries a live entry
  std::uint64_t seed = 1;             ///< of the levels of the nodes
  VectorStorage vectors = {};         ///< the graph is built and searched on codes of 8 bits a value in any case
};

/// Approximate nearest neighbours by a navigable small-world graph (Malkov and Yashunin 2018; hnswlib), scanned exactly
/// while it is small. Safe from many threads.
///
/// Nodes of removed entries stay in the graph, and cost time and memory, until there are `rebuild_after` of them a live
/// entry: then a new graph is built on a thread of its own, while the old one goes on answering and taking changes. The
/// first graph, when the entries reach `graph_from`, comes about in the same way. Entries with one and the same vector
/// share a node. Memory at dimension 384: 2.2 KB an entry, 0.7 KB with the vectors in a file or given up, 0.3 KB more
/// when worn; twice that during a rebuild. A search takes no memory from the second one of a thread on.
class HnswIndex : public SimilarityIndex {
 public:
  /// Throws `Error(usage)` for dimension 0 or an option out of range.
  explicit HnswIndex(std::size_t dimension, const HnswOptions& options = {});
  ~HnswIndex() override;  ///< waits for a rebuild to notice that it is not wanted any more: milliseconds

  using SimilarityIndex::search;
  std::size_t dimension() const override;
  std::size_t bytes_per_entry() const override;
  std::size_t size() const override;
  void add(EntryId id, std::span<const float> vector) override;
  bool remove(EntryId id) override;
  std::size_t search(std::span<const float> vector, std::span<Candidate> out) const override;

  struct Stats {
    bool graph = false;          ///< answers come from a graph, not from a scan
    std::size_t nodes = 0;       ///< of the graph, dead ones included
    std::size_t dead_nodes = 0;  ///< of removed entries, until the next rebuild
    std::size_t rebuilds = 0;    ///< finished ones, the first graph included
    bool rebuilding = false;
    std::size_t failed_rebuilds = 0;  ///< for want of memory; the old graph stays
  };
  Stats stats() const;

  /// Returns when no rebuild is under way.
  void wait_for_rebuild() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
