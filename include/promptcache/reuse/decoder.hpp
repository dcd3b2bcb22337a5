#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "promptcache/base/digest.hpp"
#include "promptcache/reuse/decoder_file.hpp"
#include "promptcache/reuse/kv_block.hpp"

namespace promptcache::reuse {

/// A block of keys and values and the position that its first row stands at.
struct KvRun {
  const KvBlock* block = nullptr;
  std::size_t position = 0;
  KvBlock* open = nullptr;  ///< the same block, when new tokens of the step are written to it
};

/// A token to compute. Its position is that of its run plus its row.
struct NewToken {
  std::int32_t token = 0;
  std::size_t run = 0;  ///< an open one
  std::size_t row = 0;  ///< taken by its keys and values
};

/// Tokens to compute at once, and exactly what each of them sees. Tokens of several sequences may be in one step.
struct Step {
  std::vector<KvRun> runs;
  std::vector<NewToken> tokens;

  /// [tokens, runs]: how many rows of each run, from row 0 on, each token sees. Rows of new tokens are there before
  /// anything is looked at, so a token sees itself with row + 1.
  std::vector<std::uint32_t> visible;

  std::size_t layers = 0;  ///< stop behind so many, without logits; 0: all of them

  std::size_t position(std::size_t token) const { return runs[tokens[token].run].position + tokens[token].row; }
  std::uint32_t& sees(std::size_t token, std::size_t run) { return visible[token * runs.size() + run]; }
  std::uint32_t sees(std::size_t token, std::size_t run) const { return visible[token * runs.size() + run]; }
};

/// A language model over explicit positions and visibility: everything that reuses attention states is made of such
/// steps. Safe from many threads as long as no two write to the same block.
class Decoder {
 public:
  virtual ~Decoder() = default;

  virtual const DecoderConfig& config() const = 0;
  virtual KvShape kv_shape() const = 0;

  /// Changes whenever keys and values of the same tokens could be others: model, number formats, way of computing.
  virtual Digest identity() const = 0;

  /// Computes the tokens, writes their keys and values to their rows, whose blocks must already have that size, and
  /// returns the logits of the tokens in `wanted`, [wanted, vocabulary]. Throws `Error`: usage for a step that
  /// contradicts itself (a row that there is not, a token that does not see itself, another shape), mismatch for a
  /// token or a position that the model does not have, numeric for logits that are no finite numbers.
  virtual std::vector<float> run(const Step& step, std::span<const std::size_t> wanted) const = 0;

  /// Checks all that `run` refuses before it computes anything.
  void check(const Step& step, std::span<const std::size_t> wanted) const;
};

}  // namespace promptcache::reuse
