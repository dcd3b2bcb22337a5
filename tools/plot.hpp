#pragma once

#include <string>
#include <vector>

namespace tool {

/// Colours of a plot, by what they stand for; the page's style sheet says what they look like in light and dark.
enum class Ink { model = 1, baseline, label_0, label_1, text, grid, muted };

/// A line of a legend.
struct LegendEntry {
  enum class Mark { line, dashed, points, joined_points, box };
  Mark mark;
  Ink ink;
  std::string title;
};

/// The name of an ink in the page's style sheet, for example "--model".
const char* style_name(Ink ink);

/// A picture drawn by gnuplot as SVG that takes its colours and fonts from the page around it.
class Plot {
 public:
  using Rows = std::vector<std::vector<double>>;

  Plot(const std::string& x_label, const std::string& y_label);

  Plot& set(const std::string& command);  ///< a line of gnuplot's, for example "set xrange [0:1]"

  /// What is added later lies on top. Of many rows about 600 are drawn, evenly taken.
  Plot& line(Rows rows, Ink ink, const std::string& title, bool dashed = false);    ///< x, y
  Plot& points(Rows rows, Ink ink, const std::string& title, bool joined = false);  ///< x, y
  Plot& band(Rows rows, Ink ink);                                                   ///< x, low, high
  Plot& boxes(Rows rows, Ink ink, const std::string& title);                        ///< x, height
  Plot& guide(const std::string& function);  ///< a dashed line at the back: "x", "0"

  /// Runs gnuplot. `name` keeps the identifiers inside apart from those of other pictures of a page; `description` is
  /// read to those who do not see it. Throws `Error`: not_found without gnuplot, io when it fails.
  std::string svg(const std::string& name, const std::string& description) const;

  /// Stands beside the picture, so that it can be read at any width.
  const std::vector<LegendEntry>& legend() const { return legend_; }

 private:
  Plot& add(Rows rows, const std::string& style);

  std::string settings_;
  std::string data_;
  std::string curves_;
  std::vector<LegendEntry> legend_;
  int count_ = 0;
};

/// Throws `Error(not_found)` when there is no gnuplot that draws SVG, to be called before long work whose end needs it.
void require_gnuplot();

/// For example "5.4 patchlevel 4"; empty without gnuplot.
std::string gnuplot_version();

}  // namespace tool
