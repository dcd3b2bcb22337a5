#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promptcache/reuse/chain.hpp"
#include "promptcache/text/bpe_tokenizer.hpp"

namespace promptcache::reuse {

struct SamplingOptions {
  double temperature = 0;  ///< 0: always the likeliest token
  std::size_t top_k = 0;   ///< only among so many of the likeliest; 0: all
  double top_p = 1;        ///< only among the likeliest that together have at least this probability
  std::uint64_t seed = 0;  ///< same seed, same choices
};

/// Chooses tokens. Limits apply in the order temperature, top_k, top_p.
class Sampler {
 public:
  /// Throws `Error(usage)` for a temperature below 0 or a top_p outside (0, 1].
  explicit Sampler(const SamplingOptions& options = {});

  /// Of equally likely ones the smallest. Throws `Error(usage)` for no logits.
  std::int32_t next(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
};

enum class GenerationEnd {
  end_token,  ///< the model ended its text
  stop_text,  ///< one of the texts that were to stop it
  length,     ///< as many tokens as were allowed
  context,    ///< the model's context is full
  cancelled,  ///< by the receiver
};

struct GenerationOptions {
  SamplingOptions sampling = {};
  std::size_t most_tokens = 256;
  std::vector<std::string> stop = {};                  ///< texts that end the answer, and are not part of it
  std::vector<std::int32_t> ends = {};                 ///< tokens that end it; the model's own usually
  std::function<bool(std::string_view)> receive = {};  ///< gets text as it comes, whole characters; false: enough
};

struct Generation {
  std::vector<std::int32_t> tokens;  ///< without the one that ended it
  std::string text;
  GenerationEnd end = GenerationEnd::length;
};

/// Goes on behind a chain. Text that may be the beginning of a stop text is held back until it is known. Throws what
/// `Decoder::run` throws; the chain then holds what was generated before.
Generation generate(Chain& chain, const BpeTokenizer& tokenizer, const GenerationOptions& options);

}  // namespace promptcache::reuse
