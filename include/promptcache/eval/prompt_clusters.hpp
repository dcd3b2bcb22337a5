#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "promptcache/eval/stream.hpp"

namespace promptcache {

/// Prompts with the cluster each belongs to; one response serves all prompts of a cluster and no other.
struct PromptClusters {
  std::vector<std::string> texts;     ///< distinct
  std::vector<std::size_t> clusters;  ///< of each text, numbered by first appearance
  std::size_t conflicts = 0;          ///< texts that stood in another cluster before; the first counts
};

/// Reads TSV (header line, no quoting) or JSON lines, plain or gzip, told apart by content, with a prompt and the name
/// of its cluster in these columns. Throws `Error` with file and line: missing column, short row, an empty prompt or
/// cluster, no prompts at all.
PromptClusters read_prompt_clusters(const std::string& path, const std::string& prompt_column = "prompt",
                                    const std::string& cluster_column = "cluster");

/// As a set for a stream; of more than `most` prompts (0: no bound) some drawn with `seed`.
PromptSet prompts_of_clusters(const PromptClusters& clusters, std::size_t most = 0, std::uint64_t seed = 1);

}  // namespace promptcache
