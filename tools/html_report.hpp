#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evaluation.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "stream.hpp"

namespace tool {

/// What the page shows.
struct ReportInput {
  std::string model_name, baseline_name, pairs_name;
  const std::vector<promptcache::Pair>* pairs = nullptr;
  const Comparison* comparison = nullptr;
  std::optional<StreamSweep> model_stream, baseline_stream;
};

/// One self-contained page: the table, and ROC, precision and recall, reliability, similarities by label and the stream
/// as SVG drawn by gnuplot. Throws `Error(not_found)` when gnuplot is not there, `Error(io)` when it fails.
std::string html_report(const ReportInput& input);

}  // namespace tool
