#pragma once

#include <string>
#include <variant>
#include <vector>

#include "plot.hpp"

namespace tool {

/// Text for the inside of an element or of an attribute; control characters become spaces.
std::string escaped_html(const std::string& text);

/// Text that Markdown takes literally, inside a table too.
std::string escaped_markdown(const std::string& text);

/// `text`, or its first `most` bytes and "...", never cut inside a character.
std::string shortened(const std::string& text, std::size_t most = 300);

/// Rows of cells; the first cell names the row.
struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::size_t texts = 0;  ///< so many of the last columns hold running text
};

/// A report as a list of blocks that can be written as HTML or as Markdown. All texts are taken literally.
class Page {
 public:
  explicit Page(std::string title) : title_(std::move(title)) {}

  void section(std::string title) { blocks_.emplace_back(Section{std::move(title)}); }
  void paragraph(std::string text) { blocks_.emplace_back(Paragraph{std::move(text)}); }
  void table(Table table) { blocks_.emplace_back(std::move(table)); }
  void figure(Plot plot, std::string caption) { blocks_.emplace_back(Figure{std::move(plot), std::move(caption)}); }

  /// One file that needs no other, no script and no network; light or dark as the reader's system is, light in print.
  /// Draws the figures: throws as `Plot::svg`.
  std::string html() const;

  /// Without the figures.
  std::string markdown() const;

 private:
  struct Section {
    std::string title;
  };
  struct Paragraph {
    std::string text;
  };
  struct Figure {
    Plot plot;
    std::string caption;
  };
  using Block = std::variant<Section, Paragraph, Table, Figure>;

  std::string title_;
  std::vector<Block> blocks_;
};

/// The form a report's name asks for by its ending.
enum class ReportForm { html, markdown };

/// Whether a report can be written there: its name ends in .html, .htm or .md, the place is writable, and gnuplot is
/// there for HTML. To be called before the long work. Throws `Error`.
ReportForm check_report(const std::string& path);

/// Throws `Error` when no file can be written there; leaves nothing behind.
void require_writable(const std::string& path);

void write_page(const std::string& path, const Page& page);

}  // namespace tool
