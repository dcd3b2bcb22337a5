#pragma once

#include <string>
#include <vector>

#include "eval_report.hpp"
#include "plot.hpp"

namespace tool {

/// The pictures of the evaluation page.
Plot roc_plot(const ReportInput& input);
Plot precision_plot(const ReportInput& input);
Plot similarity_plot(const ReportInput& input, const Evaluation& evaluation);
Plot reliability_plot(const std::vector<promptcache::CalibrationBin>& before,
                      const std::vector<promptcache::CalibrationBin>& after);
Plot stream_plot(const ReportInput& input);
Plot learning_plot(const LearningPicture& learning);

/// Upper bound of the rate of wrong hits (Clopper-Pearson on one pair of each question cluster) against the share of
/// pairs served, each point for itself.
Plot hit_bound_plot(const ReportInput& input);

}  // namespace tool
