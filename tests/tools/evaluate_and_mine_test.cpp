#include <cmath>
#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "tools/run_tool.hpp"

namespace {

using test::require_code;
using test::run_tool;
using test::ToolResult;

const std::string bert = "--model " + test::data_file("tiny_bert");

std::string some_pairs(bool both_classes = true) {
  std::string text = "q1\tq2\tlabel\ttopic\n";
  for (int i = 0; i < 40; ++i) {
    text += "how do i reset item " + std::to_string(i) + "\twhere can i change number " + std::to_string(i * 7 % 40) +
            "\t" + (both_classes && i % 3 == 0 ? "1" : "0") + "\tt" + std::to_string(i) + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("pc-eval writes the table, the JSON and the curve") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  const ToolResult result =
      run_tool("pc-eval " + bert + " --baseline " + test::data_file("tiny_xlmr") + " --pairs " + pairs + " --json " +
               directory.file("e.json") + " --curve " + directory.file("c.csv"));
  require_code(result, 0, {"40 pairs, 14 positive", "AUC difference", "no lambda and c"});
  const auto json = nlohmann::json::parse(promptcache::read_file(directory.file("e.json")));
  CHECK(json["pairs"] == 40);
  CHECK(json["positives"] == 14);
  CHECK(json["truncated"] == 0);
  CHECK(json["interval_method"].is_string());
  CHECK(json["model"]["auc"].is_number());
  CHECK(json["model"]["ece"].is_null());
  CHECK(json["difference"]["auc"].get<double>() ==
        Approx(json["model"]["auc"].get<double>() - json["baseline"]["auc"].get<double>()));
  CHECK(json["difference"]["p_value"].is_number());
  CHECK(promptcache::read_file(directory.file("c.csv")).rfind("threshold,precision,recall", 0) == 0);
}

TEST_CASE("pc-eval on one class gives nulls and says why") {
  const test::TemporaryDirectory directory;
  const ToolResult result = run_tool("pc-eval " + bert + " --pairs " + directory.write("p.tsv", some_pairs(false)) +
                                     " --json " + directory.file("e.json"));
  require_code(result, 0, {"undefined: all pairs are negative"});
  const auto json = nlohmann::json::parse(promptcache::read_file(directory.file("e.json")));
  CHECK(json["model"]["auc"].is_null());
  CHECK(json["model"]["average_precision"].is_null());
  CHECK(json["baseline"].is_null());
  CHECK(json["difference"].is_null());
}

TEST_CASE("pc-eval exit codes: usage and input 2, help 0") {
  const test::TemporaryDirectory directory;
  require_code(run_tool("pc-eval --help"), 0, {"--baseline", "Example"});
  require_code(run_tool("pc-eval"), 2, {"--model is required"});
  require_code(run_tool("pc-eval --nonsense"), 2, {});
  require_code(run_tool("pc-eval --model /nowhere --pairs " + directory.write("p.tsv", some_pairs())), 2, {"/nowhere"});
  require_code(run_tool("pc-eval " + bert + " --pairs /nowhere"), 2, {"/nowhere", "No such file"});
  require_code(run_tool("pc-eval " + bert + " --pairs " + directory.write("q.tsv", "q1\tq2\tlabel\na\tb\tmaybe\n")), 2,
               {"q.tsv:2", "'maybe'"});
}

TEST_CASE("pc-mine split writes three files that share no question") {
  const test::TemporaryDirectory directory;
  const ToolResult result = run_tool("pc-mine split --pairs " + directory.write("p.tsv", some_pairs()) + " --out-dir " +
                                     directory.file("d") + " --seed 3");
  require_code(result, 0, {"train.tsv", "valid.tsv", "test.tsv"});
  CHECK(promptcache::read_pair_file(directory.file("d/train.tsv")).columns.back() == "topic");
  require_code(run_tool("pc-mine split --pairs " + directory.file("p.tsv") + " --out-dir x --ratios 7:1"), 2, {"7:1"});
  require_code(run_tool("pc-mine"), 2, {});
}

TEST_CASE("pc-mine select computes similarities with a model, or takes the column") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  require_code(run_tool("pc-mine select --pairs " + pairs + " --out " + directory.file("o.tsv")), 2, {"similarity"});
  require_code(run_tool("pc-mine select --pairs " + pairs + " " + bert + " --out " + directory.file("o.tsv")), 0,
               {"of 40 pairs", "by construction"});
  const promptcache::PairFile scored = promptcache::read_pair_file(directory.file("o.tsv"));
  CHECK(scored.column("similarity") != promptcache::PairFile::npos);
  CHECK(scored.column("topic") != promptcache::PairFile::npos);
  require_code(run_tool("pc-mine select --pairs " + directory.file("o.tsv") + " --out " + directory.file("again.tsv")),
               0, {});
  CHECK(promptcache::read_file(directory.file("o.tsv")) == promptcache::read_file(directory.file("again.tsv")));
}

TEST_CASE("pc-eval simulates a stream and draws a page that needs nothing else") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  const ToolResult result =
      run_tool("pc-eval " + bert + " --baseline " + test::data_file("tiny_xlmr") + " --pairs " + pairs + " --valid " +
               pairs + " --json " + directory.file("e.json") + " --html " + directory.file("e.html"));
  require_code(result, 0, {"stream, model:", "stream, baseline:", "efficiency"});
  const auto json = nlohmann::json::parse(promptcache::read_file(directory.file("e.json")));
  CHECK(json["stream"]["model"]["prompts"] == 80);
  CHECK(json["stream"]["model"]["repeats"] == 14);
  const std::string page = promptcache::read_file(directory.file("e.html"));
  std::size_t pictures = 0;
  for (std::size_t at = page.find("<figure>"); at != std::string::npos; at = page.find("<figure>", at + 1)) ++pictures;
  CHECK(pictures == 6);  // no reliability: the tiny models have no lambda and c
  CHECK(page.find("src=") == std::string::npos);
  CHECK(page.find("ROC") != std::string::npos);
  require_code(run_tool("pc-eval " + bert + " --pairs " + pairs + " --html /nowhere/e.html"), 2, {"/nowhere/e.html"});
}
