#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "promptcache/reuse/compute.hpp"
#include "promptcache/reuse/kv_store.hpp"

namespace promptcache::reuse {

/// Where the states of a prompt came from.
struct ReuseCounts {
  std::size_t tokens_reused = 0;
  std::size_t tokens_computed = 0;
  std::size_t bytes_reused = 0;  ///< of states that were used where they lay, without a copy

  ReuseCounts& operator+=(const ReuseCounts& other);
};

/// Text in which every token sees all before it: a conversation, the beginning of prompts, or a module by itself. What
/// a store has of it from an earlier time is not computed again, to the token; this is exact. Positions ascend and may
/// leave gaps. Copies share blocks but the last one. Not safe from several threads.
class Chain {
 public:
  /// `store` may be null. The first token stands at `position`. States are found by chains of the same `scope` only:
  /// how long a prompt takes tells whether somebody of its scope has computed its beginning.
  Chain(std::shared_ptr<const Decoder> decoder, std::shared_ptr<KvStore> store, std::size_t position = 0,
        std::string_view scope = {});

  /// One that goes on, without a store, behind blocks that were made otherwise, of which the last row of the last one
  /// is the last token. `logits` are those behind it.
  static Chain behind(std::shared_ptr<const Decoder> decoder, std::vector<PlacedBlock> blocks, std::int32_t last_token,
                      std::vector<float> logits);

  /// Adds tokens `gap` positions behind the last one. Throws what `Decoder::run` throws; the chain is then as before.
  void append(std::span<const std::int32_t> tokens, std::size_t gap = 0);

  /// Adds tokens if the store has all of them; says whether it had.
  bool append_if_stored(std::span<const std::int32_t> tokens, std::size_t gap = 0);

  /// Adds a token that was generated. Cheaper than `append` for one; not looked up in the store.
  void push(std::int32_t token);

  /// A token each to several chains of one decoder in one step, which reads the weights once for all. Throws as `push`;
  /// all chains are then as before. Throws `Error(usage)` for another number of tokens, or chains of several decoders.
  static void push(std::span<Chain* const> chains, std::span<const std::int32_t> tokens);

  /// Gives what was pushed last to the store, too, which otherwise takes full blocks only.
  void keep();

  /// Logits behind the last token, [vocabulary]. Throws `Error(usage)` for an empty chain.
  const std::vector<float>& logits();

  const std::vector<PlacedBlock>& blocks() const noexcept { return blocks_; }
  std::size_t end() const noexcept { return end_; }                   ///< position behind the last token
  std::size_t context() const { return decoder_->config().context; }  ///< positions that the decoder has
  const ReuseCounts& counts() const noexcept { return counts_; }
  const Digest& key() const noexcept { return key_; }  ///< of all blocks but an open one

 private:
  std::size_t take_from_store(std::span<const std::int32_t> tokens, std::size_t gap);
  void open_row();
  void close();

  std::shared_ptr<const Decoder> decoder_;
  std::shared_ptr<KvStore> store_;
  std::vector<PlacedBlock> blocks_;
  std::shared_ptr<KvBlock> open_;  // the last of the blocks, while tokens are pushed to it
  std::vector<std::int32_t> open_tokens_;
  std::int32_t last_token_ = 0;
  Digest key_;
  std::size_t end_ = 0;
  std::vector<float> logits_;  // empty: not computed
  ReuseCounts counts_;
};

}  // namespace promptcache::reuse
