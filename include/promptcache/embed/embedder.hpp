#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "promptcache/base/digest.hpp"  // identity()

namespace promptcache {

/// What happened to the texts of one `embed` call. An embedder that cannot truncate returns `{}`.
struct EmbedReport {
  std::size_t tokens = 0;                  ///< tokens run through the encoder
  std::vector<std::size_t> truncated;      ///< positions of texts longer than the encoder's window
  std::vector<std::size_t> unrepresented;  ///< positions of texts of which nothing but unknown tokens was left
};

/// Texts to vectors. Implementations are `const` and safe from many threads.
class Embedder {
 public:
  virtual ~Embedder() = default;

  virtual std::size_t dimension() const = 0;

  /// Changes whenever the same text could give another vector (weights, tokenizer, pooling, prefix);
  /// vectors of different identities are never compared.
  virtual Digest identity() const = 0;

  /// Writes one vector a text to `out`, row-major `[texts.size(), dimension()]`, L2-normalised.
  /// Throws `Error(usage)` when `out` has another size.
  virtual EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const = 0;

  /// The vector of one text; a convenience over `embed`.
  std::vector<float> embed_one(std::string_view text) const {
    std::vector<float> vector(dimension());
    embed({&text, 1}, vector);
    return vector;
  }
};

}  // namespace promptcache
