#include "eval_report.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "eval_plots.hpp"
#include "numbers.hpp"

namespace tool {
namespace {

using promptcache::Pair;

std::string with_limits(const std::optional<promptcache::IntervalEstimate>& estimate) {
  if (!estimate) return "-";
  return fixed(estimate->value, 4) + " (" + fixed(estimate->low, 4) + " to " + fixed(estimate->high, 4) + ")";
}

Table summary_table(const ReportInput& input) {
  const Comparison& comparison = *input.comparison;
  Table table{{"", "model"}, {}};
  if (comparison.baseline) table.columns.push_back("baseline");
  const auto both = [&](const char* measure, auto&& value_of) {
    table.rows.push_back({measure, value_of(comparison.model)});
    if (comparison.baseline) table.rows.back().push_back(value_of(*comparison.baseline));
  };
  both("AUC (95 %, DeLong)", [](const Evaluation& each) { return with_limits(each.auc); });
  both("average precision", [](const Evaluation& each) { return fixed(each.average_precision, 4); });
  both("recall at 95 % precision", [](const Evaluation& each) { return fixed(each.recall_at_precision_95, 4); });
  both("ECE, 15 bins", [](const Evaluation& each) { return fixed(each.ece, 4); });
  both("Brier score", [](const Evaluation& each) { return fixed(each.brier, 4); });
  for (const auto& [measure, model, baseline] : input.more_rows) {
    table.rows.push_back({measure, model});
    if (comparison.baseline) table.rows.back().push_back(baseline);
  }
  if (comparison.difference) {
    table.rows.push_back({"AUC, model - baseline (95 %, DeLong)", with_limits(comparison.difference->auc)});
    table.rows.back().push_back("p = " + rounded(comparison.difference->p_value));
  }
  return table;
}

/// About ten thresholds along the recall.
Table threshold_table(const Evaluation& evaluation) {
  Table table{{"threshold", "hits", "precision", "recall"}, {}};
  double next = 0.1;
  for (const promptcache::CurvePoint& point : evaluation.curve) {
    if (point.recall < next && &point != &evaluation.curve.back()) continue;
    table.rows.push_back(
        {fixed(point.threshold, 4), std::to_string(point.hits), fixed(point.precision, 4), fixed(point.recall, 4)});
    while (next <= point.recall) next += 0.1;
    if (point.recall >= 1) break;
  }
  return table;
}

/// Pairs of one label, those the model is most wrong about first.
Table worst_errors(const ReportInput& input, bool positive) {
  constexpr std::size_t most = 20;
  const Comparison& comparison = *input.comparison;
  const std::vector<double>& similarities = comparison.model.similarities;
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < input.pairs->size(); ++i) {
    if ((*input.pairs)[i].positive() == positive) order.push_back(i);
  }
  const auto worse = [&](std::size_t a, std::size_t b) {
    if (similarities[a] != similarities[b]) return (similarities[a] > similarities[b]) != positive;
    return a < b;
  };
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(most, order.size()));
  std::partial_sort(order.begin(), end, order.end(), worse);
  Table table{{"similarity"}, {}, 2};
  if (comparison.baseline) table.columns.push_back("baseline's");
  table.columns.insert(table.columns.end(), {"line", "q1", "q2"});
  for (auto at = order.begin(); at != end; ++at) {
    const Pair& pair = (*input.pairs)[*at];
    std::vector<std::string> cells = {fixed(similarities[*at], 4)};
    if (comparison.baseline) cells.push_back(fixed(comparison.baseline->similarities[*at], 4));
    cells.insert(cells.end(), {std::to_string(pair.line), shortened(pair.q1), shortened(pair.q2)});
    table.rows.push_back(std::move(cells));
  }
  return table;
}

void add_errors(Page& page, const ReportInput& input) {
  if (input.comparison->positives < input.comparison->pairs) {
    page.section("Most similar pairs that are labelled 0");
    page.paragraph("What a cache would serve first, and wrongly. Some of these labels may be mistaken.");
    page.table(worst_errors(input, false));
  }
  if (input.comparison->positives > 0) {
    page.section("Least similar pairs that are labelled 1");
    page.paragraph("What a cache would miss last.");
    page.table(worst_errors(input, true));
  }
}

void add_stream(Page& page, const ReportInput& input) {
  page.section("A stream of these prompts");
  page.figure(stream_plot(input),
              "Efficiency of a cache without bound: (right - wrong hits) / hits that can be right, mean and quantiles "
              "over 20 orders.");
  page.paragraph("Model: " + sweep_text(*input.model_stream) + ".");
  if (input.baseline_stream) page.paragraph("Baseline: " + sweep_text(*input.baseline_stream) + ".");
  page.paragraph(
      "The thresholds were chosen on other pairs. Hits between prompts that no label links count neither way.");
}

}  // namespace

Page evaluation_page(const ReportInput& input) {
  const Comparison& comparison = *input.comparison;
  Page page("How well a model tells whether one response serves two prompts");
  page.paragraph(std::to_string(comparison.pairs) + " pairs, " + std::to_string(comparison.positives) +
                 " of them positive.");
  page.table(summary_table(input));
  for (const std::string& note : comparison.notes) page.paragraph("Note: " + note);

  if (comparison.model.auc) {
    page.section("Ranking");
    const bool bands = !input.model_details.roc.at.empty();
    page.figure(roc_plot(input), std::string("ROC: every threshold as the share of negatives and of positives it "
                                             "serves.") +
                                     (bands ? " Bands: 95 %, resampled by question cluster." : ""));
    page.figure(precision_plot(input), "Precision and recall over thresholds. A cache lives at the left end.");
  }
  page.section("Similarities by label");
  if (comparison.baseline) page.figure(similarity_plot(input, *comparison.baseline), "Before: the baseline.");
  page.figure(similarity_plot(input, comparison.model), comparison.baseline ? "After: the model." : "The model.");
  if (!comparison.model.bins.empty() || !input.model_details.calibrated_bins.empty()) {
    page.section("Reliability");
    page.figure(reliability_plot(comparison.model.bins, input.model_details.calibrated_bins),
                "Bins of equal mass. On the diagonal the probability that the model's lambda and c give is what is the "
                "case.");
  }
  if (comparison.model.auc) {
    page.section(input.hits_title);
    page.figure(hit_bound_plot(input),
                "Upper bound of the rate of wrong hits against the hits kept: " + trimmed(100 * input.confidence) +
                    " %, Clopper-Pearson on one pair of each question cluster, each point for itself. Dotted: the "
                    "target of " +
                    trimmed(100 * input.target_wrong_hits) + " %.");
    if (!input.hits_table.columns.empty()) page.table(input.hits_table);
    for (const std::string& sentence : input.hits_sentences) page.paragraph(sentence);
    page.section("Thresholds on these pairs, model");
    page.table(threshold_table(comparison.model));
  }
  if (input.learning) {
    page.section("Learning curve");
    page.figure(learning_plot(*input.learning), "Error against the number of labelled pairs it was trained on.");
    if (!input.learning->sentence.empty()) page.paragraph(input.learning->sentence);
  }
  if (input.model_stream) add_stream(page, input);
  add_errors(page, input);
  if (!input.provenance.empty()) {
    input.provenance.add_to(page);
  } else {
    Provenance provenance;
    provenance.add_model("model", input.model_name);
    if (comparison.baseline) provenance.add_model("baseline", input.baseline_name);
    provenance.add_file("pairs", input.pairs_name);
    provenance.add_to(page);
  }
  return page;
}

}  // namespace tool
