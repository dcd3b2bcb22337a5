#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "promptcache/base/digest.hpp"

namespace promptcache::embed {

/// What the bits of a product, and the layout of packed weights, depend on beside the weights.
std::string kernel_versions();

/// What opening a model has found out about its file of weights and need not find out again: the digest, and how near
/// other precisions come to f32. Kept in `promptcache-notes.json` beside the file and believed as long as the file has
/// the same size, time of change and inode. A directory that cannot be written, or a damaged or foreign note, costs the
/// time again and nothing else; of two processes that write at once one wins.
class WeightsNotes {
 public:
  /// Throws `Error` when the weights cannot be read.
  explicit WeightsNotes(const std::string& weights_path);

  const Digest& digest() const noexcept { return digest_; }

  /// Outcome of a self-check, named by precision and kind, on this machine's kernels.
  std::optional<double> agreement(const std::string& check) const;
  void set_agreement(const std::string& check, double agreement);

  /// Whether the file is the one that was opened, and old enough for a change to show in its time: what was made of it
  /// may be kept.
  bool settled() const;

  /// Writes what is new, once the file is settled.
  void save() noexcept;

 private:
  struct Stamp {
    std::uint64_t size = 0, modified_ns = 0, inode = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::string& path);
  bool read();

  std::string path_;
  std::string weights_path_;
  Stamp stamp_;
  Digest digest_;
  std::map<std::string, double> agreements_;  // by check and kernels
  bool changed_ = false;
};

}  // namespace promptcache::embed
