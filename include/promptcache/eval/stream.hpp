#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "promptcache/base/progress.hpp"
#include "promptcache/embed/embedder.hpp"
#include "promptcache/eval/roc.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace promptcache {

/// What labels say about serving one prompt with the response to another.
enum class Truth : std::uint8_t { right, wrong, unknown };

/// Which prompts of a stream share a response. The one definition of a right and of a wrong hit:
/// - the same prompt again is right;
/// - two prompts of one component are right, a component being what positive labels connect, directly or over others;
///   but a label of 0 on these very two prompts is wrong;
/// - two prompts of different components are wrong when a label of 0 links any prompt of the one with any of the
///   other, and unknown when no label speaks about the two components. With clusters all that is not of one cluster is
///   wrong.
/// Judgements on the same two prompts count once, by the mean of their labels, positive when >= 0.5.
class PromptTruth {
 public:
  PromptTruth() = default;

  /// `first[i]` and `second[i]` are the prompts of pair i. Throws `Error(usage)` for unequal lengths or a prompt that
  /// is not below `prompts`.
  static PromptTruth from_pairs(std::size_t prompts, std::span<const std::size_t> first,
                                std::span<const std::size_t> second, std::span<const double> labels);
  static PromptTruth from_clusters(std::span<const std::size_t> cluster_of_prompt);

  std::size_t size() const noexcept { return component_.size(); }
  std::size_t components() const noexcept { return components_; }
  std::size_t component(std::size_t prompt) const { return component_[prompt]; }  ///< numbered by first appearance

  Truth judge(std::size_t a, std::size_t b) const;

  /// Label-0 judgements on two prompts that positive labels connect.
  std::size_t contradictions() const noexcept { return direct_negatives_.size(); }

 private:
  std::vector<std::size_t> component_;
  std::size_t components_ = 0;
  bool others_are_wrong_ = false;
  std::unordered_set<std::uint64_t> negative_components_;  // both numbers in one
  std::unordered_set<std::uint64_t> direct_negatives_;     // of two prompts of one component
};

/// The distinct prompts a stream is made of.
struct PromptSet {
  std::vector<std::string> texts;
  PromptTruth truth;
};

/// All distinct prompts of the pairs, told apart byte by byte, in order of appearance; or, when there are more than
/// `most` (0: no bound), those of pairs drawn with `seed`.
PromptSet prompts_of_pairs(const std::vector<Pair>& pairs, std::size_t most = 0, std::uint64_t seed = 1);

/// What an encoder makes of a set's prompts.
struct PromptVectors {
  std::size_t dimension = 0;
  std::vector<float> vectors;            ///< [prompts, dimension], L2-normalised
  std::vector<std::uint8_t> exact_only;  ///< nonzero: too long for the encoder, or nothing but unknown tokens
  std::size_t truncated = 0;             ///< of these, the too long ones
};

/// Embeds each text once, on `threads` threads.
PromptVectors embed_prompts(const Embedder& embedder, const std::vector<std::string>& texts, std::size_t threads = 1,
                            const ProgressCallback& progress = {});

enum class Popularity : std::uint8_t { uniform, zipf };

/// What a stream looks like.
struct StreamPlan {
  Popularity popularity = Popularity::uniform;

  /// Length. 0: with uniform popularity each prompt once, in random order (arXiv 2402.01173), with Zipf's as many as
  /// there are prompts. Otherwise drawn with replacement: uniform, each prompt as likely as the other; Zipf, a
  /// component by its rank r with weight r^-exponent, then any prompt of it. Ranks are drawn anew for each shuffle.
  std::size_t requests = 0;
  double zipf_exponent = 1;

  /// Zipf only: how often the whole ranking passes by along the stream. In each step the component of the last rank
  /// becomes the first and all others sink by one; there are drift * components steps, evenly spread.
  double drift = 0;

  /// Afterwards this share of the requests comes once more, word for word, drawn from all of them.
  double again = 0;

  std::size_t shuffles = 20;
  std::uint64_t seed = 1;

  bool once_each() const noexcept { return popularity == Popularity::uniform && requests == 0; }
};

/// The stream of one shuffle, as positions of prompts. The same for the same plan, truth and shuffle. Throws
/// `Error(usage)` for a plan out of range, and for drift without Zipf's popularity.
std::vector<std::size_t> stream_requests(const PromptTruth& truth, const StreamPlan& plan, std::size_t shuffle);

/// What became of the requests of a stream, or of several added up.
struct StreamCounts {
  std::size_t requests = 0;
  std::size_t exact_hits = 0;  ///< the very prompt was stored: right by definition
  std::size_t right_hits = 0;  ///< by similarity, as are the next two
  std::size_t wrong_hits = 0;
  std::size_t unknown_hits = 0;   ///< neither right nor wrong
  std::size_t possible_hits = 0;  ///< requests whose component was requested before: most hits that can be right
  std::size_t evictions = 0;

  StreamCounts& operator+=(const StreamCounts& other);
  bool operator==(const StreamCounts&) const = default;

  std::size_t semantic_hits() const noexcept { return right_hits + wrong_hits + unknown_hits; }
  std::size_t hits() const noexcept { return exact_hits + semantic_hits(); }
  std::size_t misses() const noexcept { return requests - hits(); }
  double hit_rate() const noexcept;

  /// Wrong hits among the hits of known truth, exact ones included; empty without such a hit.
  std::optional<double> wrong_hit_rate() const noexcept;
  /// Wrong hits among the hits by similarity whose truth is known.
  std::optional<double> wrong_semantic_hit_rate() const noexcept;

  /// Caching efficiency, arXiv 2402.01173: (true hits - wrong hits) / possible hits, true hits being exact and right
  /// ones. Negative when hits do more harm than good; empty when no hit can be right.
  std::optional<double> efficiency() const noexcept;
  /// The same, hits of unknown truth taken as wrong.
  std::optional<double> efficiency_at_worst() const noexcept;
};

/// One threshold over all shuffles.
struct StreamScore {
  double tau = 0;
  StreamCounts total;                  ///< summed over shuffles
  std::vector<StreamCounts> shuffles;  ///< of each
  /// Mean over shuffles, and the 2.5 % and 97.5 % quantiles of theirs (linear interpolation): how much the order of
  /// these prompts matters, not what other prompts would give. Empty when some shuffle has none.
  std::optional<IntervalEstimate> efficiency;
  std::optional<IntervalEstimate> efficiency_at_worst;  ///< likewise

  double mean(std::size_t StreamCounts::*count) const;  ///< of a count, over shuffles
};

StreamScore score_of(double tau, std::vector<StreamCounts> shuffles);

/// First minus second efficiency, paired by shuffle; mean and the same quantiles. Empty when either has none.
std::optional<IntervalEstimate> efficiency_difference(const StreamScore& first, const StreamScore& second);

/// The score of highest efficiency, or efficiency at worst; among equals that of the highest threshold. Null when none
/// has an efficiency.
const StreamScore* most_efficient(std::span<const StreamScore> scores, bool at_worst = false);

}  // namespace promptcache
