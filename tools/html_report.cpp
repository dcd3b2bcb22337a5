#include "html_report.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "promptcache/base/error.hpp"

namespace tool {
namespace {

using promptcache::Error;
using promptcache::ErrorCode;

constexpr const char* blue = "#1f6feb";
constexpr const char* orange = "#d9730d";

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      default: result += c;
    }
  }
  return result;
}

/// Runs gnuplot on a script and returns the SVG it draws.
std::string svg_of(const std::string& script) {
  std::string path = (std::filesystem::temp_directory_path() / "promptcache-plot-XXXXXX").string();
  const int descriptor = ::mkstemp(path.data());
  if (descriptor < 0) throw promptcache::system_error({path}, errno, "a temporary file for gnuplot's script");
  ::close(descriptor);
  {
    std::ofstream file(path);
    file << "set terminal svg size 560,400 font 'sans-serif,13' background rgb 'white'\n"
            "set border 3 lc rgb '#555555'\nset tics nomirror\nset grid lc rgb '#dddddd'\n"
         << script;
  }
  std::FILE* pipe = ::popen(("gnuplot " + path + " 2>&1").c_str(), "r");
  std::string output;
  char block[4096];
  for (std::size_t got = 0; pipe != nullptr && (got = std::fread(block, 1, sizeof(block), pipe)) > 0;) {
    output.append(block, got);
  }
  const int status = pipe == nullptr ? -1 : ::pclose(pipe);
  std::filesystem::remove(path);
  if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 127) {
    throw Error(ErrorCode::not_found, {"gnuplot"}, "no such program", "gnuplot (Debian: gnuplot-nox) for --html");
  }
  const std::size_t begin = output.find("<svg");
  if (status != 0 || begin == std::string::npos) {
    throw Error(ErrorCode::io, {"gnuplot"}, "'" + output.substr(0, 200) + "'", "a picture");
  }
  return output.substr(begin);
}

/// Named data of a gnuplot script; at most `most` rows, evenly taken.
class Data {
 public:
  explicit Data(std::string name) : name_(std::move(name)) {}
  void row(std::initializer_list<double> values) {
    std::string text;
    char number[32];
    for (const double value : values) {
      std::snprintf(number, sizeof(number), "%.6g ", value);
      text += number;
    }
    rows_.push_back(text);
  }
  std::string text() const {
    constexpr std::size_t most = 600;
    const std::size_t step = std::max<std::size_t>(1, rows_.size() / most);
    std::string result = name_ + " << EOD\n";
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (i % step == 0 || i + 1 == rows_.size()) result += rows_[i] + "\n";
    }
    return result + "EOD\n";
  }

 private:
  std::string name_;
  std::vector<std::string> rows_;
};

std::string line_of(const char* data, const char* colour, const char* title, const char* columns = "1:2") {
  return std::string(data) + " using " + columns + " with lines lw 2.5 lc rgb '" + colour + "' title '" + title + "'";
}

/// Draws one curve of the model and, when there is one, of the baseline.
template <class Fill>
std::string both_curves(const Comparison& comparison, const std::string& axes, const std::string& extra, Fill fill) {
  Data model("$model");
  fill(comparison.model, model);
  std::string script = model.text();
  std::string plot = "plot " + extra + line_of("$model", blue, "model");
  if (comparison.baseline) {
    Data baseline("$baseline");
    fill(*comparison.baseline, baseline);
    script += baseline.text();
    plot += ", " + line_of("$baseline", orange, "baseline");
  }
  return svg_of(script + axes + plot + "\n");
}

std::string roc_picture(const ReportInput& input) {
  const std::vector<promptcache::Pair>& pairs = *input.pairs;
  const auto positives = static_cast<double>(input.comparison->positives);
  const double negatives = static_cast<double>(pairs.size()) - positives;
  return both_curves(*input.comparison,
                     "set size square\nset xrange [0:1]\nset yrange [0:1]\nset key bottom right\n"
                     "set xlabel 'negatives served'\nset ylabel 'positives served'\n",
                     "x with lines dt 2 lc rgb '#999999' notitle, ", [&](const Evaluation& evaluation, Data& data) {
                       std::vector<std::size_t> order(pairs.size());
                       std::iota(order.begin(), order.end(), std::size_t{0});
                       std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
                         return evaluation.similarities[a] > evaluation.similarities[b];
                       });
                       double right = 0;
                       double wrong = 0;
                       data.row({0, 0});
                       for (const std::size_t pair : order) {
                         (pairs[pair].positive() ? right : wrong) += 1;
                         data.row({wrong / negatives, right / positives});
                       }
                     });
}

std::string precision_picture(const ReportInput& input) {
  return both_curves(*input.comparison,
                     "set xrange [0:1]\nset yrange [0:1.02]\nset key bottom left\nset xlabel 'recall'\n"
                     "set ylabel 'precision'\n",
                     "", [](const Evaluation& evaluation, Data& data) {
                       for (const promptcache::CurvePoint& point : evaluation.curve) {
                         data.row({point.recall, point.precision});
                       }
                     });
}

std::string reliability_picture(const ReportInput& input) {
  Data data("$bins");
  for (const promptcache::CalibrationBin& bin : input.comparison->model.bins) {
    data.row({bin.mean_probability, bin.mean_label});
  }
  return svg_of(
      data.text() +
      "set size square\nset key bottom right\nset xrange [0:1]\nset yrange [0:1]\nset xlabel 'estimated probability'\n"
      "set ylabel 'share of positives'\nplot x with lines dt 2 lc rgb '#999999' notitle, "
      "$bins using 1:2 with linespoints pt 7 ps 0.7 lw 2 lc rgb '" +
      blue + "' title 'model, bins of equal mass'\n");
}

std::string similarity_picture(const ReportInput& input, const Evaluation& evaluation) {
  constexpr int bins = 40;
  const auto [low, high] = std::minmax_element(evaluation.similarities.begin(), evaluation.similarities.end());
  const double width = std::max(1e-6, (*high - *low) / bins);
  std::vector<double> counts[2] = {std::vector<double>(bins), std::vector<double>(bins)};
  for (std::size_t i = 0; i < evaluation.similarities.size(); ++i) {
    const auto bin = static_cast<std::size_t>((evaluation.similarities[i] - *low) / width);
    counts[(*input.pairs)[i].positive() ? 1 : 0][std::min<std::size_t>(bin, bins - 1)] += 1;
  }
  Data data("$counts");
  for (int bin = 0; bin < bins; ++bin) {
    const auto at = static_cast<std::size_t>(bin);
    data.row({*low + (bin + 0.5) * width, counts[0][at], counts[1][at]});
  }
  return svg_of(data.text() +
                "set style fill solid 0.45 noborder\nset key top left\nset xlabel 'similarity'\nset ylabel 'pairs'\n"
                "plot $counts using 1:2 with boxes lc rgb '" +
                orange +
                "' title 'label 0', "
                "$counts using 1:3 with boxes lc rgb '" +
                blue + "' title 'label 1'\n");
}

std::string stream_picture(const ReportInput& input) {
  const auto rows = [](const StreamSweep& sweep, Data data) {
    for (const promptcache::StreamPoint& point : sweep.points) {
      data.row({point.threshold, 100 * point.efficiency, 100 * point.wrong_share()});
    }
    return data.text();
  };
  std::string script = rows(*input.model_stream, Data("$model"));
  std::string plot = "plot 0 with lines dt 2 lc rgb '#999999' notitle, " + line_of("$model", blue, "model");
  if (input.baseline_stream) {
    script += rows(*input.baseline_stream, Data("$baseline"));
    plot += ", " + line_of("$baseline", orange, "baseline");
  }
  return svg_of(script +
                "set xrange [0.3:1]\nset yrange [-60:]\nset key bottom right\nset xlabel 'threshold'\n"
                "set ylabel 'efficiency, %'\n" +
                plot + "\n");
}

std::string figure(const std::string& svg, const std::string& caption) {
  return "<figure>" + svg + "<figcaption>" + escaped(caption) + "</figcaption></figure>\n";
}

}  // namespace

std::string html_report(const ReportInput& input) {
  const Comparison& comparison = *input.comparison;
  std::string page =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>promptcache evaluation</title>\n"
      "<style>body{font:16px/1.45 sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}"
      "h1{font-size:1.5em}pre{background:#f6f8fa;padding:1em;overflow-x:auto;font-size:14px}"
      "figure{display:inline-block;margin:0 .5em 1.5em 0;vertical-align:top;width:560px;max-width:100%}"
      "figure svg{width:100%;height:auto}figcaption{font-size:14px;color:#555}</style></head><body>\n"
      "<h1>How well the model tells whether one response serves two prompts</h1>\n<p>" +
      escaped(input.pairs_name) + "</p>\n<pre>" +
      escaped(table_text(input.model_name, input.baseline_name, comparison)) + "</pre>\n";
  if (comparison.model.auc) {
    page += figure(roc_picture(input), "ROC: every threshold as the share of negatives and of positives it serves.");
    page += figure(precision_picture(input), "Precision and recall over thresholds. A cache lives at the left end.");
  }
  page += figure(similarity_picture(input, comparison.model), "Similarities of the model by label.");
  if (comparison.baseline) {
    page += figure(similarity_picture(input, *comparison.baseline), "Similarities of the baseline by label.");
  }
  if (!comparison.model.bins.empty()) {
    page += figure(reliability_picture(input),
                   "Reliability: on the diagonal the model's lambda and c say what is the case.");
  }
  if (input.model_stream) {
    page += figure(stream_picture(input),
                   "A stream of the pairs' prompts through a cache without bound: (right hits - wrong hits) / repeats, "
                   "mean of 20 orders.");
    page += "<h2>Stream, at the threshold chosen on the validation pairs</h2>\n<pre>model: " +
            escaped(sweep_text(*input.model_stream)) + "\n";
    if (input.baseline_stream) page += "baseline: " + escaped(sweep_text(*input.baseline_stream)) + "\n";
    page += "</pre>\n<p>Prompts that no positive pair links count as different questions.</p>\n";
  }
  return page + "</body></html>\n";
}

}  // namespace tool
