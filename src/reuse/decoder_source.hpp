#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/reuse/decoder_file.hpp"

namespace promptcache::reuse {

/// What to do with a stored tensor to get the part that is wanted.
struct StoredPart {
  std::string name;
  std::vector<std::size_t> shape = {};  ///< as stored; empty: that of the part
  bool transposed = false;              ///< stored [in, out]
  std::size_t first_row = 0;            ///< of a matrix that holds several parts, after it was transposed
  std::size_t interleaved_heads = 0;    ///< rows of each of so many heads are in pairs, a row of either half in turn
};

/// Where a decoder comes from.
struct DecoderFile::Source {
  std::string path;
  DecoderConfig config;
  Digest identity;

  virtual ~Source() = default;
  virtual bool contains(const std::string& tensor) const = 0;
  virtual std::vector<float> read(const std::string& tensor, std::span<const std::size_t> shape) const = 0;
  virtual std::optional<StoredPart> stored(DecoderPart part, std::size_t layer) const = 0;  ///< none: never stored
  virtual std::shared_ptr<const BpeTokenizer> tokenizer() const = 0;
  virtual std::string chat_template() const = 0;  ///< empty: there is none
};

std::shared_ptr<const DecoderFile::Source> open_directory(const std::string& path);
std::shared_ptr<const DecoderFile::Source> open_gguf(const std::string& path);

/// Checks the sizes of a configuration against each other. Throws `Error(format)`.
void check_config(const std::string& path, const DecoderConfig& config);

/// Radians a position of the pairs of a head, before scaling.
std::vector<double> rope_frequencies(double base, std::size_t head_size);

/// Divides all frequencies, which is positions that are `factor` times as close.
void scale_linearly(std::vector<double>& frequencies, double factor);

}  // namespace promptcache::reuse
