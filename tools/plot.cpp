#include "plot.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "page.hpp"
#include "promptcache/base/error.hpp"

namespace tool {
namespace {

using promptcache::Error;
using promptcache::ErrorCode;

/// gnuplot is given a grey of its own for each ink, which is replaced in what it draws.
constexpr std::array<const char*, 8> inks = {"",          "--model", "--baseline", "--label-0",
                                             "--label-1", "--ink",   "--grid",     "--muted"};

std::string colour(Ink ink) {
  char text[16];
  const auto number = static_cast<unsigned>(ink);
  std::snprintf(text, sizeof(text), "'#%02x%02x%02x'", number, number, number);
  return text;
}

struct Output {
  int code = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output output;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw promptcache::system_error({"gnuplot"}, errno, "a process");
  char block[4096];
  for (std::size_t got = 0; (got = std::fread(block, 1, sizeof(block), pipe)) > 0;) output.text.append(block, got);
  const int status = ::pclose(pipe);
  if (status != -1 && WIFEXITED(status)) output.code = WEXITSTATUS(status);
  return output;
}

[[noreturn]] void throw_missing() {
  throw Error(ErrorCode::not_found, {"gnuplot"}, "no such program", "gnuplot (Debian: gnuplot-nox) for the pictures");
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

void remove_between(std::string& text, std::string_view begin, std::string_view end) {
  for (std::size_t from = text.find(begin); from != std::string::npos; from = text.find(begin, from)) {
    const std::size_t to = text.find(end, from);
    if (to == std::string::npos) return;
    text.erase(from, to + end.size() - from);
  }
}

/// "rgb(  1,   1,   1)" becomes "var(--model)".
void name_colours(std::string& svg) {
  for (std::size_t at = svg.find("rgb("); at != std::string::npos; at = svg.find("rgb(", at + 4)) {
    const std::size_t end = svg.find(')', at);
    int red = 0, green = 0, blue = 0;
    if (std::sscanf(svg.c_str() + at, "rgb(%d,%d,%d)", &red, &green, &blue) != 3) continue;
    if (red != green || red != blue || red < 1 || red >= static_cast<int>(inks.size())) continue;
    svg.replace(at, end + 1 - at, std::string("var(") + inks[static_cast<std::size_t>(red)] + ")");
  }
  for (const auto& [from, to] :
       {std::pair("black", "var(--ink)"), std::pair("gray", "var(--grid)"), std::pair("white", "var(--paper)")}) {
    for (const char* mark : {"\"", "'"})
      replace_all(svg, std::string(mark) + from + mark, std::string(mark) + to + mark);
  }
}

}  // namespace

const char* style_name(Ink ink) { return inks[static_cast<std::size_t>(ink)]; }

Plot::Plot(const std::string& x_label, const std::string& y_label)
    : settings_("set terminal svg size 480,340 font 'sans-serif,15' noenhanced\nunset key\nset border 3 lc rgb " +
                colour(Ink::muted) + "\nset tics nomirror textcolor rgb " + colour(Ink::text) +
                "\nset grid lt 1 lw 0.6 lc rgb " + colour(Ink::grid) + "\nset xlabel '" + x_label + "' textcolor rgb " +
                colour(Ink::text) + "\nset ylabel '" + y_label + "' textcolor rgb " + colour(Ink::text) + "\n") {}

Plot& Plot::set(const std::string& command) {
  settings_ += command + "\n";
  return *this;
}

Plot& Plot::add(Rows rows, const std::string& style) {
  constexpr std::size_t most = 600;
  const std::size_t step = std::max<std::size_t>(1, rows.size() / most);
  const std::string name = "$data" + std::to_string(count_++);
  data_ += name + " << EOD\n";
  char number[32];
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i % step != 0 && i + 1 != rows.size()) continue;
    for (const double value : rows[i]) {
      std::snprintf(number, sizeof(number), "%.6g ", value);
      data_ += number;
    }
    data_ += "\n";
  }
  data_ += "EOD\n";
  curves_ += (curves_.empty() ? "plot " : ", ") + name + " " + style + " notitle";
  return *this;
}

Plot& Plot::line(Rows rows, Ink ink, const std::string& title, bool dashed) {
  if (rows.empty()) return *this;
  legend_.push_back({dashed ? LegendEntry::Mark::dashed : LegendEntry::Mark::line, ink, title});
  return add(std::move(rows), "using 1:2 with lines lw 2.2 lc rgb " + colour(ink) + (dashed ? " dt (8,4)" : ""));
}

Plot& Plot::points(Rows rows, Ink ink, const std::string& title, bool joined) {
  if (rows.empty()) return *this;
  legend_.push_back({joined ? LegendEntry::Mark::joined_points : LegendEntry::Mark::points, ink, title});
  return add(std::move(rows), std::string("using 1:2 with ") + (joined ? "linespoints lw 1.8" : "points") +
                                  " pt 7 ps 0.7 lc rgb " + colour(ink));
}

Plot& Plot::band(Rows rows, Ink ink) {
  if (rows.empty()) return *this;
  return add(std::move(rows),
             "using 1:2:3 with filledcurves fc rgb " + colour(ink) + " fs transparent solid 0.22 noborder");
}

Plot& Plot::boxes(Rows rows, Ink ink, const std::string& title) {
  if (rows.empty()) return *this;
  legend_.push_back({LegendEntry::Mark::box, ink, title});
  return add(std::move(rows), "using 1:2 with boxes lc rgb " + colour(ink) + " fs transparent solid 0.5 noborder");
}

Plot& Plot::guide(const std::string& function) {
  curves_ += (curves_.empty() ? "plot " : ", ") + function + " with lines dt (3,3) lw 1.2 lc rgb " +
             colour(Ink::muted) + " notitle";
  return *this;
}

std::string Plot::svg(const std::string& name, const std::string& description) const {
  std::string path = (std::filesystem::temp_directory_path() / "promptcache-plot-XXXXXX").string();
  const int descriptor = ::mkstemp(path.data());
  if (descriptor < 0) throw promptcache::system_error({path}, errno, "a temporary file for gnuplot's script");
  ::close(descriptor);
  {
    std::ofstream file(path);
    file << data_ << settings_ << (curves_.empty() ? "set xrange [0:1]\nset yrange [0:1]\nplot NaN notitle" : curves_)
         << "\n";
  }
  const Output output = run("gnuplot '" + path + "' 2>&1");
  std::filesystem::remove(path);
  if (output.code == 127) throw_missing();
  const std::size_t begin = output.text.find("<svg");
  if (output.code != 0 || begin == std::string::npos) {
    throw Error(ErrorCode::io, {"gnuplot"}, "'" + output.text.substr(0, 200) + "'", "a picture");
  }
  std::string svg = output.text.substr(begin);
  remove_between(svg, "<title>", "</title>");
  remove_between(svg, "<desc>", "</desc>");
  remove_between(svg, "<filter", "</filter>");
  name_colours(svg);
  replace_all(svg, " font-family=\"sans-serif\"", "");
  replace_all(svg, "id='gp", "id='" + name + "_gp");
  replace_all(svg, "href='#gp", "href='#" + name + "_gp");
  replace_all(svg, "id=\"gnuplot_", "id=\"" + name + "_");
  svg.replace(0, 4, "<svg role=\"img\" aria-label=\"" + escaped_html(description) + "\"");
  while (!svg.empty() && (svg.back() == '\n' || svg.back() == ' ')) svg.pop_back();
  return svg;
}

void require_gnuplot() {
  const Output output = run("gnuplot -e 'set terminal svg' 2>&1");
  if (output.code == 127 || output.code == 126) throw_missing();
  if (output.code != 0) {
    throw Error(ErrorCode::unsupported, {"gnuplot"}, "'" + output.text.substr(0, 200) + "'",
                "a gnuplot that draws SVG");
  }
}

std::string gnuplot_version() {
  const Output output = run("gnuplot --version 2>/dev/null");
  constexpr std::string_view begin = "gnuplot ";
  if (output.code != 0 || output.text.rfind(begin, 0) != 0) return "";
  return output.text.substr(begin.size(), output.text.find('\n') - begin.size());
}

}  // namespace tool
