#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promptcache/base/digest.hpp"
#include "promptcache/base/log.hpp"
#include "promptcache/reuse/kv_block.hpp"

namespace promptcache::reuse {

struct KvStoreOptions {
  std::size_t memory_bytes = std::size_t{1} << 30;  ///< of blocks that the store keeps in memory

  /// A file that keeps blocks beyond memory and beyond the process; empty: none. Every block is written to it as it
  /// comes, and used where it is mapped when memory has let go of it. One process writes.
  std::string file = {};
  std::size_t file_bytes = std::size_t{4} << 30;  ///< of a new one, allocated at once; an old one keeps its size

  /// Only read the file, which another process may write meanwhile: what was in it at opening is found as long as the
  /// writer leaves it there, and is copied to memory when it is first used. What is new stays in memory.
  bool file_read_only = false;
  LogCallback log = {};  ///< told of a file that can no longer be written, and of damaged blocks
  Digest decoder = {};   ///< `Decoder::identity`, by which a file knows whose states it has
};

struct KvStoreStats {
  std::size_t blocks = 0;        ///< in memory, in the file, or both
  std::size_t bytes = 0;         ///< of the blocks in memory
  std::size_t bytes_in_use = 0;  ///< of all blocks that came into the store and that somebody still holds, store or not
  std::size_t file_bytes = 0;    ///< of the blocks in the file
  std::size_t tokens_found = 0;
  std::size_t tokens_mapped = 0;  ///< of these: used where the file is mapped
  std::size_t evictions = 0;      ///< from memory
  std::size_t file_evictions = 0;
  std::size_t damaged = 0;   ///< blocks of the file whose states were not what was written
  std::size_t refusals = 0;  ///< blocks that found no room in memory, as all others were in use or pinned
};

/// Where a block stands in a chain: behind which one, how far from its end, and with which tokens. A block's keys and
/// values depend on everything in front of it in the chain, and on nothing else; not on the position of the chain's
/// beginning either, unless the model learned a table of positions.
struct KvLink {
  Digest parent;
  std::size_t gap = 0;  ///< positions left free between the parent's last token and the first of these
  std::span<const std::int32_t> tokens;

  Digest key() const;
};

/// Blocks of keys and values by what they were computed from: SHA-256 over decoder, tokens and all that they saw. A
/// text that was computed once is found whatever it is part of: beginning of a conversation, or module. Blocks are
/// immutable; whoever holds one keeps it. When memory is full the blocks leave that are cheapest to compute again per
/// byte and longest unused (GreedyDual-Size), the ends of chains before their beginnings. Killing the process loses
/// nothing that is in the file. Safe from many threads.
class KvStore {
 public:
  /// Throws `Error` naming the file: io (no room, say), access, not_found for one to read, busy for one that another
  /// process writes, format for another kind of file or version, mismatch for one of another decoder.
  explicit KvStore(const KvShape& shape, const KvStoreOptions& options = {});
  ~KvStore();
  KvStore(const KvStore&) = delete;
  KvStore& operator=(const KvStore&) = delete;

  /// Where chains of this decoder begin. `position` counts for models with a learned table of positions only. Chains of
  /// different scopes share nothing.
  static Digest root(const Digest& decoder, std::optional<std::size_t> position = {}, std::string_view scope = {});

  struct Found {
    Digest key;
    std::shared_ptr<const KvBlock> block;
    std::size_t rows = 0;  ///< that hold the tokens asked for; fewer than the block has: the rest are others
  };

  /// The block behind a parent whose tokens share the longest beginning with those of the link; nothing when no first
  /// token fits.
  std::optional<Found> find(const KvLink& link);

  /// Keeps a block whose rows are the link's tokens. `cost` is what computing it takes, in any unit. What is there
  /// already, stays, and is returned. Throws `Error`: usage for another number of rows, mismatch for another shape.
  std::shared_ptr<const KvBlock> put(const KvLink& link, std::shared_ptr<const KvBlock> block, double cost);

  /// A pinned block and those in front of it are not evicted. Counts: as many unpins undo it. False: it is not there.
  bool pin(const Digest& key);
  bool unpin(const Digest& key);

  void clear();  ///< all but pinned blocks and those in front of them, file and memory
  void sync();   ///< what is in the file survives a loss of power from here on. Throws `Error(io)`
  KvStoreStats stats() const;
  const KvShape& shape() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache::reuse
