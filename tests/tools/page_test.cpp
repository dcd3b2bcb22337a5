#include "page.hpp"

#include "eval_report.hpp"
#include "promptcache/base/file.hpp"
#include "support.hpp"

using promptcache::ErrorCode;
using test::require_error;

namespace {

std::size_t count_of(const std::string& text, const std::string& piece) {
  std::size_t count = 0;
  for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++count;
  return count;
}

/// Pairs whose texts try to break out of a page, with similarities that rise with the label, mostly.
struct Example {
  std::vector<promptcache::Pair> pairs;
  tool::Comparison comparison;
  tool::ReportInput input;

  Example() {
    tool::Evaluation baseline;
    std::vector<std::uint8_t> positive;
    for (int i = 0; i < 200; ++i) {
      const double label = i % 3 == 0 ? 1 : 0;
      positive.push_back(i % 3 == 0 ? 1 : 0);
      pairs.push_back({"<script>alert(" + std::to_string(i) + ")</script> | `x` & \"y\"",
                       "<img src=x onerror=alert(1)>\t" + std::string(700, 'z') + std::to_string(i), label,
                       static_cast<std::size_t>(i + 2)});
      comparison.model.similarities.push_back(0.5 + 0.2 * label + 0.001 * (i * 37 % 200));
      baseline.similarities.push_back(0.5 + 0.1 * label + 0.001 * (i * 37 % 200));
    }
    comparison.pairs = 200;
    comparison.positives = 67;
    comparison.model.auc = promptcache::roc_auc_interval(comparison.model.similarities, positive);
    comparison.model.curve = promptcache::precision_recall_curve(comparison.model.similarities, positive);
    comparison.model.bins = {{100, 0.2, 0.1}, {100, 0.7, 0.6}};
    baseline.auc = promptcache::roc_auc_interval(baseline.similarities, positive);
    baseline.curve = promptcache::precision_recall_curve(baseline.similarities, positive);
    comparison.baseline = baseline;
    comparison.notes = {"a note with <b>"};
    input.pairs = &pairs;
    input.comparison = &comparison;
    input.model_name = "models/tuned";
    input.pairs_name = "pairs.tsv";
  }
};

}  // namespace

TEST_CASE("texts are escaped for HTML and for Markdown") {
  CHECK(tool::escaped_html("<a href=\"x\">&'\x01\n") == "&lt;a href=&quot;x&quot;&gt;&amp;&#39;  ");
  CHECK(tool::escaped_markdown("a|b <i> *c* [d](e) `f`\n#") == "a\\|b &lt;i&gt; \\*c\\* \\[d\\](e) \\`f\\` \\#");
  CHECK(tool::shortened("abc", 3) == "abc");
  CHECK(tool::shortened("abcd", 3) == "abc...");
  CHECK(tool::shortened("ab\xc3\xa4zz", 3) == "ab...");  // not inside of a character
}

TEST_CASE("a picture takes its colours from the page") {
  tool::Plot plot("x", "y");
  plot.set("set xrange [0:1]").guide("x");
  plot.band({{0, 0.1, 0.2}, {1, 0.3, 0.9}}, tool::Ink::baseline);
  plot.line({{0, 0.1}, {1, 0.6}}, tool::Ink::model, "model");
  plot.boxes({{0.5, 0.5}}, tool::Ink::label_0, "label 0");
  const std::string svg = plot.svg("f7", "what <it> shows");
  CHECK(svg.rfind("<svg role=\"img\" aria-label=\"what &lt;it&gt; shows\"", 0) == 0);
  for (const char* piece :
       {"var(--model)", "var(--baseline)", "var(--label-0)", "var(--ink)", "var(--grid)", "f7_gp"}) {
    INFO(piece);
    CHECK(svg.find(piece) != std::string::npos);
  }
  for (const char* piece : {"rgb(", "\"black\"", "\"white\"", "Gnuplot", "id='gp", "<filter"}) {
    INFO(piece);
    CHECK(svg.find(piece) == std::string::npos);
  }
  CHECK(tool::Plot("x", "y").svg("f1", "empty").find("<svg") == 0);
  require_error(ErrorCode::io, {"gnuplot"}, [] { tool::Plot("x", "y").set("nonsense").svg("f1", ""); });
}

TEST_CASE("the evaluation page shows what is there, and no prompt escapes into it") {
  Example example;
  const std::string plain = tool::evaluation_page(example.input).html();
  CHECK(count_of(plain, "<figure>") == 6);
  CHECK(count_of(plain, "<script") == 0);
  CHECK(count_of(plain, "<img") == 0);
  CHECK(count_of(plain, "&lt;script&gt;") == 40);  // twenty worst of each kind
  CHECK(count_of(plain, "<td class=\"text\">") > 80);
  CHECK(plain.find("Learning curve") == std::string::npos);
  CHECK(plain.find("a note with &lt;b&gt;") != std::string::npos);

  example.input.learning = tool::LearningPicture{
      {{100, 0.3}, {200, 0.2}}, {{100, 0.3, 0.25, 0.35}, {200, 0.2, 0.1, 0.3}}, "Twice as many would help."};
  example.input.model_details.roc = {{0, 0.5, 1}, {0, 0.6, 1}, {0.2, 0.9, 1}};
  example.input.model_details.calibrated_bins = {{200, 0.4, 0.4}};
  example.input.model_details.chosen = {0.2, 0.015};
  example.input.hits_sentences = {"Serve above 0.83."};
  example.input.more_rows = {{"AUC (95 %, by cluster)", "0.9", "0.8"}};
  const std::string full = tool::evaluation_page(example.input).html();
  CHECK(count_of(full, "<figure>") == 7);
  for (const char* piece : {"resampled by question cluster", "Twice as many", "Serve above", "after calibration",
                            "by cluster)", "chosen threshold"}) {
    INFO(piece);
    CHECK(full.find(piece) != std::string::npos);
  }

  const std::string markdown = tool::evaluation_page(example.input).markdown();
  CHECK(markdown.find("<") == std::string::npos);
  CHECK(markdown.find("| 0\\.") == std::string::npos);
  CHECK(markdown.find("Twice as many") != std::string::npos);
}

TEST_CASE("the evaluation page of one class has no curves") {
  Example example;
  for (promptcache::Pair& pair : example.pairs) pair.label = 0;
  example.comparison.positives = 0;
  example.comparison.model.auc.reset();
  example.comparison.model.curve.clear();
  example.comparison.baseline.reset();
  const std::string page = tool::evaluation_page(example.input).html();
  CHECK(count_of(page, "<figure>") == 2);
  CHECK(page.find("labelled 1</h2>") == std::string::npos);
  CHECK(page.find("labelled 0</h2>") != std::string::npos);
}

TEST_CASE("a report's place is looked at without leaving anything") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("r.html");
  CHECK(tool::check_report(path) == tool::ReportForm::html);
  CHECK(tool::check_report(directory.file("r.md")) == tool::ReportForm::markdown);
  CHECK(std::filesystem::is_empty(directory.path()));
  tool::Page page("A <title>");
  page.paragraph("Some | text");
  tool::write_page(path, page);
  CHECK(promptcache::read_file(path).find("A &lt;title&gt;") != std::string::npos);
  tool::write_page(directory.file("r.md"), page);
  CHECK(promptcache::read_file(directory.file("r.md")) == "# A &lt;title&gt;\n\nSome \\| text\n");
  require_error(ErrorCode::usage, {"--report", "r.txt"}, [&] { tool::check_report(directory.file("r.txt")); });
  require_error(ErrorCode::access, {"a directory"}, [&] { tool::require_writable(directory.path()); });
}
