#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "promptcache/pairs/label_audit.hpp"
#include "promptcache/pairs/labelling.hpp"
#include "promptcache/pairs/pair_file.hpp"

namespace tool {

/// Prices in whatever currency, per million tokens.
struct Prices {
  double in = 0, out = 0;
  bool given() const { return in > 0 || out > 0; }
  double cost(std::size_t prompt_tokens, std::size_t answer_tokens) const {
    return (in * static_cast<double>(prompt_tokens) + out * static_cast<double>(answer_tokens)) / 1e6;
  }
};

/// Figures of a finished or broken-off run.
struct LabelCounts {
  std::size_t labelled = 0, positive = 0, unparsable = 0, refused = 0, rejected = 0, unasked = 0;
  double mean_difference = 0;  ///< of the two orders, over pairs that have both

  explicit LabelCounts(const promptcache::LabelResult& result);
};

std::string summary_text(const promptcache::LabelResult& result, bool both_orders, const Prices& prices);
std::string plan_text(const promptcache::LabelPlan& plan, std::size_t pairs, double requests_per_minute,
                      std::size_t parallel, const Prices& prices);
std::string audit_text(const promptcache::LabelAudit& audit);

nlohmann::ordered_json to_json(const promptcache::LabelResult& result, bool both_orders, const Prices& prices);
nlohmann::ordered_json to_json(const promptcache::LabelPlan& plan, const Prices& prices);
nlohmann::ordered_json to_json(const promptcache::LabelAudit& audit);

/// The columns that a labelled file has beside those of its input.
struct LabelColumns {
  std::string model, prompt_version;
  bool both_orders = false;
};

/// Writes the labelled pairs of `file` to `out`, with all their columns: `label` is the teacher's, one that was there
/// before becomes `label_before`. Pairs without a label go to `<out>.unanswered.tsv` with the reason, if there are any.
/// Returns how many those are.
std::size_t write_labelled(const promptcache::PairFile& file, const promptcache::LabelResult& result,
                           const LabelColumns& columns, const std::string& out);

/// The human label of each pair: of `judged` where the two questions are the same, in either order; the mean where a
/// pair was judged more than once; NaN for none.
std::vector<double> human_labels(const std::vector<promptcache::Pair>& pairs,
                                 const std::vector<promptcache::Pair>& judged);

/// The column `similarity`, or nothing when there is none. Throws `Error(format)` for a cell that is no number.
std::vector<double> similarity_column(const promptcache::PairFile& file);

}  // namespace tool
