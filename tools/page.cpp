#include "page.hpp"

#include <algorithm>
#include <filesystem>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace tool {
namespace {

constexpr const char* style = R"(
:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--muted:#59636e;--grid:#d5dbe1;--panel:#f4f6f8;
--model:#0b5fd3;--baseline:#b45309;--label-0:#b45309;--label-1:#0b5fd3}
@media (prefers-color-scheme:dark){:root{--paper:#0f1419;--ink:#e4e8ec;--muted:#98a3ae;--grid:#333c46;--panel:#19212a;
--model:#6cb0ff;--baseline:#f2a65a;--label-0:#f2a65a;--label-1:#6cb0ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 1rem}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--grid)}
p{max-width:46rem;margin:.6rem 0;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.32rem .7rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--grid);white-space:nowrap}
thead th{background:var(--panel);font-weight:600}
tbody th{white-space:normal}
th:first-child,td.text,th.text{text-align:left}
td.text{white-space:normal;min-width:15rem;max-width:34rem;overflow-wrap:anywhere}
tbody th{font-weight:400}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.2rem 1.6rem;margin:1rem 0}
figure{margin:0;max-width:30rem;min-width:0}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:.2rem 0 .3rem;padding:0;font-size:.87rem}
.legend svg{display:inline-block;width:1.8em;height:.8em;margin-right:.4em}
figure>svg{display:block;width:100%;height:auto;font-family:system-ui,sans-serif}
figcaption{font-size:.87rem;color:var(--muted);margin-top:.2rem}
@media (max-width:600px){table{font-size:.84rem}th,td{padding:.3rem .4rem}td{white-space:normal}td.text{min-width:11rem}
h1{font-size:1.35rem}main{padding:1rem .8rem 2rem}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--muted:#444;--grid:#ccc;--panel:#f2f2f2;
--model:#0b5fd3;--baseline:#a34a00;--label-0:#a34a00;--label-1:#0b5fd3}
body{font-size:10.5pt}main{max-width:none;padding:0}.scroll{overflow:visible}
.figures{grid-template-columns:1fr 1fr}figure,tr{break-inside:avoid}h2{break-after:avoid}
thead th{print-color-adjust:exact;-webkit-print-color-adjust:exact}td.text{min-width:0}}
)";

std::string html_table(const Table& table) {
  const std::size_t first_text = table.columns.size() - std::min(table.texts, table.columns.size());
  std::string html = "<div class=\"scroll\"><table><thead><tr>";
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    html += std::string("<th scope=\"col\"") + (i >= first_text ? " class=\"text\">" : ">") +
            escaped_html(table.columns[i]) + "</th>";
  }
  html += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == 0) {
        html += "<th scope=\"row\">" + escaped_html(row[i]) + "</th>";
      } else {
        html += (i >= first_text ? "<td class=\"text\">" : "<td>") + escaped_html(row[i]) + "</td>";
      }
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string html_legend(const Plot& plot) {
  std::string html = "<ul class=\"legend\">";
  for (const LegendEntry& entry : plot.legend()) {
    using Mark = LegendEntry::Mark;
    const std::string colour = std::string("var(") + style_name(entry.ink) + ")";
    html += "<li><svg viewBox=\"0 0 36 16\" aria-hidden=\"true\">";
    if (entry.mark == Mark::box) {
      html += "<rect x=\"2\" y=\"1\" width=\"32\" height=\"14\" fill=\"" + colour + "\" fill-opacity=\"0.5\"/>";
    }
    if (entry.mark == Mark::line || entry.mark == Mark::dashed || entry.mark == Mark::joined_points) {
      html += "<path d=\"M1,8h34\" stroke-width=\"3.5\" stroke=\"" + colour +
              (entry.mark == Mark::dashed ? "\" stroke-dasharray=\"9,4\"/>" : "\"/>");
    }
    if (entry.mark == Mark::points || entry.mark == Mark::joined_points) {
      html += "<circle cx=\"18\" cy=\"8\" r=\"5.5\" fill=\"" + colour + "\"/>";
    }
    html += "</svg>" + escaped_html(entry.title) + "</li>";
  }
  return html + "</ul>";
}

std::string markdown_table(const Table& table) {
  const std::size_t first_text = table.columns.size() - std::min(table.texts, table.columns.size());
  std::string text;
  const auto add_row = [&text](const std::vector<std::string>& cells) {
    for (const std::string& cell : cells) text += "| " + escaped_markdown(cell) + " ";
    text += "|\n";
  };
  add_row(table.columns);
  for (std::size_t i = 0; i < table.columns.size(); ++i) text += i == 0 || i >= first_text ? "| --- " : "| ---: ";
  text += "|\n";
  for (const auto& row : table.rows) add_row(row);
  return text;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace

std::string escaped_html(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      case '\'': result += "&#39;"; break;
      default: result += is_control(c) ? ' ' : c;
    }
  }
  return result;
}

std::string escaped_markdown(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      default:
        if (std::string("\\`*_[]|#~!$").find(c) != std::string::npos) result += '\\';
        result += is_control(c) ? ' ' : c;
    }
  }
  return result;
}

std::string shortened(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end) + "...";
}

std::string Page::html() const {
  std::string html =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
      escaped_html(title_) + "</title>\n<style>" + style + "</style>\n</head>\n<body>\n<main>\n<h1>" +
      escaped_html(title_) + "</h1>\n";
  int figures = 0;
  bool in_figures = false;
  for (const Block& block : blocks_) {
    const auto* figure = std::get_if<Figure>(&block);
    if ((figure != nullptr) != in_figures) {
      html += in_figures ? "</div>\n" : "<div class=\"figures\">\n";
      in_figures = !in_figures;
    }
    if (figure != nullptr) {
      html += "<figure>" + figure->plot.svg("f" + std::to_string(++figures), figure->caption) +
              html_legend(figure->plot) + "<figcaption>" + escaped_html(figure->caption) + "</figcaption></figure>\n";
    } else if (const auto* section = std::get_if<Section>(&block)) {
      html += "<h2>" + escaped_html(section->title) + "</h2>\n";
    } else if (const auto* paragraph = std::get_if<Paragraph>(&block)) {
      html += "<p>" + escaped_html(paragraph->text) + "</p>\n";
    } else {
      html += html_table(std::get<Table>(block));
    }
  }
  if (in_figures) html += "</div>\n";
  return html + "</main>\n</body>\n</html>\n";
}

std::string Page::markdown() const {
  std::string text = "# " + escaped_markdown(title_) + "\n";
  for (const Block& block : blocks_) {
    if (const auto* section = std::get_if<Section>(&block)) {
      text += "\n## " + escaped_markdown(section->title) + "\n";
    } else if (const auto* paragraph = std::get_if<Paragraph>(&block)) {
      text += "\n" + escaped_markdown(paragraph->text) + "\n";
    } else if (const auto* table = std::get_if<Table>(&block)) {
      text += "\n" + markdown_table(*table);
    }
  }
  return text;
}

void require_writable(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    throw promptcache::Error(promptcache::ErrorCode::access, {path}, "a directory", "a file to write");
  }
  const promptcache::AtomicFile probe(path);  // opens the file beside it, and takes it away again
}

ReportForm check_report(const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension().string();
  const bool html = ending == ".html" || ending == ".htm";
  if (!html && ending != ".md") {
    throw promptcache::Error(promptcache::ErrorCode::usage, {"--report"}, "'" + path + "'",
                             "a name that ends in .html or .md");
  }
  require_writable(path);
  if (html) require_gnuplot();
  return html ? ReportForm::html : ReportForm::markdown;
}

void write_page(const std::string& path, const Page& page) {
  const bool markdown = std::filesystem::path(path).extension() == ".md";
  promptcache::write_file_atomically(path, markdown ? page.markdown() : page.html());
}

}  // namespace tool
