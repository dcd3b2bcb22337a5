// Chooses a threshold from labelled pairs: what serving above it would have done to them, and the policies made from
// it.
//
//     example_05_choose_a_threshold models/all-MiniLM-L6-v2 examples/data/valid.tsv

#include <cstdio>
#include <iostream>
#include <vector>

#include "promptcache/eval/classification.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "promptcache/pairs/similarity.hpp"
#include "promptcache/promptcache.hpp"

namespace pc = promptcache;

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " MODEL_DIRECTORY PAIRS\n";
    return 2;
  }
  try {
    const auto embedder = pc::TransformerEmbedder::open(argv[1]);
    const pc::PairFile file = pc::read_pair_file(argv[2]);
    const std::vector<double> similarities = pc::pair_similarities(*embedder, file.pairs).values;
    std::vector<double> labels;
    std::vector<std::uint8_t> positive;
    for (const pc::Pair& pair : file.pairs) {
      labels.push_back(pair.label);
      positive.push_back(pair.positive() ? 1 : 0);
    }

    std::puts("served above   hits   of them wrong   of the positives found");
    double shown = 0;
    for (const pc::CurvePoint& point : pc::precision_recall_curve(similarities, positive)) {
      if (point.recall < shown) continue;
      shown = point.recall + 0.2;
      std::printf("%12.4f  %5zu        %6.1f %%                   %5.1f %%\n", point.threshold, point.hits,
                  100 * (1 - point.precision), 100 * point.recall);
    }
    // A cost ratio is often easier to name than a rate: here a wrong hit costs as much as four computed responses.
    for (const auto& policy : {pc::CalibratedPolicy::fit(similarities, labels, {.target_wrong_hits = 0.1}),
                               pc::CalibratedPolicy::fit(similarities, labels, {.wrong_hit_cost = 4})}) {
      std::cout << policy->describe() << "\n";
    }
  } catch (const pc::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
