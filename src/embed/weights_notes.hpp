#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "promptcache/base/digest.hpp"

namespace promptcache::embed {

/// What opening a model has found out about its file of weights and need not find out again: the digest, and how near
/// int8 comes to f32. Kept in `promptcache-notes.json` beside the file and believed as long as the file has the same
/// size, time of change and inode. A directory that cannot be written, or a damaged or foreign note, costs the time
/// again and nothing else; of two processes that write at once one wins.
class WeightsNotes {
 public:
  /// Throws `Error` when the weights cannot be read.
  explicit WeightsNotes(const std::string& weights_path);

  const Digest& digest() const noexcept { return digest_; }

  /// Lowest cosine of the self-check on this machine's kernels.
  std::optional<double> int8_cosine() const;
  void set_int8_cosine(double cosine);

  /// Writes what is new. Does nothing while the file is so young that a change might not show in its time.
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
  std::map<std::string, double> int8_cosines_;  // by kernels
  bool changed_ = false;
};

}  // namespace promptcache::embed
