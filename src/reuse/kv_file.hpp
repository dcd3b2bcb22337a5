#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/base/digest.hpp"
#include "promptcache/reuse/kv_block.hpp"

namespace promptcache::reuse {

/// What is known of a block besides its states.
struct KvRecord {
  Digest key, parent;
  std::uint64_t gap = 0;
  double cost = 0;
  std::vector<std::int32_t> tokens;
};

/// Blocks in a file of fixed size, used where they are mapped. The file is a header, a table with an entry for each
/// unit of 16 tokens, and the units; a block takes neighbouring units and is described by the entry of the first. An
/// entry counts when its checksum is right, states count when theirs is: so whatever a killed process or a loss of
/// power left half done is free space. One process writes; others may read what was there when they opened it, each
/// block copied and then checked, since the writer may put another in its place. Not safe from several threads.
class KvFile {
 public:
  enum class Access { write, read };

  /// Opens a file or, to write, makes one of `bytes`, all of it allocated on the disk. Throws `Error` naming the path:
  /// io (no room, say), access, not_found for one to read, busy for one that another process writes, format for another
  /// kind of file or version, mismatch for one of another decoder or shape.
  KvFile(const std::string& path, std::size_t bytes, const KvShape& shape, const Digest& decoder,
         Access access = Access::write);
  ~KvFile();
  KvFile(const KvFile&) = delete;
  KvFile& operator=(const KvFile&) = delete;

  /// Blocks that were there when the file was opened, by the number of their first unit.
  const std::map<std::size_t, KvRecord>& found() const { return found_; }

  /// Units that a block of so many tokens takes.
  static std::size_t units_for(std::size_t tokens) { return (tokens + KvBlock::granule - 1) / KvBlock::granule; }

  /// Where the block is now; nothing when so many units in a row are not free. Throws `Error(io)`.
  std::optional<std::size_t> write(const KvRecord& record, const KvBlock& block);

  /// The block that begins at a unit, in the mapped file, or a copy of it for a reader; null when it is to be checked,
  /// as a reader's always is, and is damaged or no longer that of the key.
  std::shared_ptr<const KvBlock> map(std::size_t unit, const Digest& key, std::size_t tokens, bool check) const;

  bool writes() const noexcept { return access_ == Access::write; }

  /// Frees the units of a block; nobody may be using it. A reader forgets them.
  void erase(std::size_t unit, std::size_t tokens);

  /// Everything that was written survives a loss of power from here on. Throws `Error(io)`.
  void sync();

 private:
  struct Mapping;

  void open(bool& made);
  void make(std::size_t bytes);
  void read_table();
  void write_at(const void* data, std::size_t size, std::size_t offset);
  std::size_t unit_offset(std::size_t unit) const;

  std::string path_;
  KvShape shape_;
  Digest decoder_;
  Access access_;
  int descriptor_ = -1;
  std::shared_ptr<const Mapping> mapping_;
  std::vector<bool> taken_;
  std::map<std::size_t, KvRecord> found_;
};

}  // namespace promptcache::reuse
