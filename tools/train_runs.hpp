#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tool {

/// What one training run came to, as pc-train reports it.
struct TrainedRun {
  std::string group;  ///< what it shares with the runs of other seeds
  std::uint64_t seed = 0;
  std::size_t pairs = 0;  ///< trained on
  std::size_t best_epoch = 0, epochs = 0;
  double blend = 1;
  double start_auc = 0, valid_auc = 0;
  std::optional<double> test_auc;  ///< on pairs that nothing was chosen by
};

/// A row a run, and mean and standard deviation of each group of more than one seed.
std::string runs_table(const std::vector<TrainedRun>& runs);

nlohmann::ordered_json runs_json(const std::vector<TrainedRun>& runs);

/// Columns pairs, auc, seed: of the test pairs where there are some, of the validation pairs otherwise.
std::string learning_curve_tsv(const std::vector<TrainedRun>& runs);

}  // namespace tool
