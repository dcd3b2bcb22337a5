#include <cmath>
#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "tools/run_tool.hpp"

namespace {

using nlohmann::json;
using test::require_code;
using test::run_tool;
using test::ToolResult;

const std::string bert = "--model " + test::data_file("tiny_bert");
const std::string both = bert + " --baseline " + test::data_file("tiny_xlmr");

/// 60 prompts, 30 questions; every third pair is labelled 1.
std::string some_pairs(int from = 0, bool positives = true) {
  std::string text = "q1\tq2\tlabel\n";
  for (int i = from; i < from + 30; ++i) {
    const std::string number = std::to_string(i);
    text += "how do i reset item " + number + "\twhere can i reset the item " + number + " <b>\t" +
            (positives && i % 3 == 0 ? "1" : "0") + "\n";
  }
  return text;
}

std::string some_clusters(const char* prompt = "prompt", const char* cluster = "cluster") {
  std::string text = std::string(prompt) + "\t" + cluster + "\n";
  for (int i = 0; i < 40; ++i) {
    text += "please reset item number " + std::to_string(i) + "\tgroup " + std::to_string(i % 8) + "\n";
  }
  return text;
}

json read_json(const std::string& path) { return json::parse(promptcache::read_file(path)); }

}  // namespace

TEST_CASE("pc-sim scores model and baseline on the same streams, at a tau chosen on another") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  const std::string tune = directory.write("t.tsv", some_pairs(100));
  const ToolResult result =
      run_tool("pc-sim " + both + " --pairs " + pairs + " --tune " + tune + " --json " + directory.file("s.json") +
               " --latency-ms 1000 --price 0.5 --wrong-hit-cost 2 --shuffles 5");
  require_code(result, 0,
               {"60 requests of 60 prompts, 50 questions", "each prompt once", "5 shuffles", "efficiency, %",
                "calls saved", "seconds saved", "baseline: "});
  const json report = read_json(directory.file("s.json"));
  for (const char* model : {"model", "baseline"}) {
    const json& each = report[model];
    INFO(each.dump());
    CHECK(each["tau"].get<double>() >= 0.3);
    CHECK(each["efficiency"].get<double>() <= each["efficiency_high"].get<double>());
    CHECK(each["efficiency"].get<double>() >= each["efficiency_low"].get<double>());
    CHECK(each["requests"] == 60);
    CHECK(each["possible_hits"] == 10);
    const double hits = each["right_hits"].get<double>() + each["wrong_hits"].get<double>() +
                        each["unknown_hits"].get<double>() + each["exact_hits"].get<double>();
    CHECK(each["hit_rate"].get<double>() == Approx(hits / 60));
    CHECK(each["efficiency"].get<double>() ==
          Approx((each["right_hits"].get<double>() - each["wrong_hits"].get<double>()) / 10));
    const double calls = hits - 2 * each["wrong_hits"].get<double>();
    CHECK(each["saved"]["calls"].get<double>() == Approx(calls).margin(1e-9));
    CHECK(each["saved"]["seconds"].get<double>() == Approx(calls).margin(1e-9));
    CHECK(each["saved"]["cost"].get<double>() == Approx(calls / 2).margin(1e-9));
    CHECK(each["curve"].size() == 71);
    CHECK(each["tuning"].size() == 71);
    // The curve comes from the simulator, the score from the real cache.
    for (const json& point : each["curve"]) {
      if (point["tau"] != each["tau"]) continue;
      CHECK(point["efficiency"] == each["efficiency"]);
      CHECK(point["unknown_hits"] == each["unknown_hits"]);
    }
  }
  CHECK(report["difference"]["efficiency"].get<double>() ==
        Approx(report["model"]["efficiency"].get<double>() - report["baseline"]["efficiency"].get<double>())
            .margin(1e-9));
  CHECK(report["provenance"]["files"].size() == 4);
  CHECK(report["provenance"]["command"].get<std::string>().find('/') == std::string::npos);
}

TEST_CASE("pc-sim without threads and with them says the same") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  json reports[2];
  for (int i = 0; i < 2; ++i) {
    require_code(run_tool("pc-sim " + bert + " --pairs " + pairs + " --tau 0.8 --capacity 20 --json " +
                          directory.file("s.json") + " --tau-step 0.1 --shuffles 4 --threads " + (i == 0 ? "1" : "3")),
                 0, {"evictions", "a cache of 20 entries, least recently used"});
    reports[i] = read_json(directory.file("s.json"));
    reports[i].erase("provenance");
  }
  CHECK(reports[0] == reports[1]);
  CHECK(reports[0]["baseline"].is_null());
  CHECK(reports[0]["model"]["curve"].size() == 8);
}

TEST_CASE("pc-sim takes clusters, popularity, drift and repeats") {
  const test::TemporaryDirectory directory;
  const std::string clusters = directory.write("c.tsv", some_clusters());
  const std::string out = " --json " + directory.file("s.json");
  require_code(run_tool("pc-sim " + bert + " --clusters " + clusters + " --tau 1 --again 0.5 --no-curve" + out), 0,
               {"60 requests of 40 prompts, 8 questions", "50 % of them again"});
  json report = read_json(directory.file("s.json"));
  CHECK(report["model"]["exact_hits"] == 20);
  CHECK(report["model"]["unknown_hits"] == 0);
  CHECK(report["model"]["wrong_hit_rate"] == 0);
  CHECK_FALSE(report["model"].contains("curve"));

  require_code(run_tool("pc-sim " + bert + " --clusters " + directory.write("d.tsv", some_clusters("text", "intent")) +
                        " --columns text,intent --tau 1 --popularity zipf --requests 200 --drift 1 --zipf-exponent "
                        "1.2 --capacity 5 --eviction lec --shuffles 3 --tau-step 0.2 --limit 30" +
                        out),
               0,
               {"200 requests of 30 prompts", "Zipf's law, exponent 1.2, drift 1", "5 entries, least expected cost"});
  report = read_json(directory.file("s.json"));
  CHECK(report["stream"]["eviction"] == "lec");
  CHECK(report["model"]["evictions"].get<double>() > 0);
}

TEST_CASE("pc-sim --timings serves the stream with the encoder") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  require_code(run_tool("pc-sim " + bert + " --pairs " + pairs + " --tau 1 --again 0.5 --timings --threads 1 --json " +
                        directory.file("s.json")),
               0, {"90 requests in", "exact hits               30", "misses                   60", "p99 us"});
  const json timings = read_json(directory.file("s.json"))["model"]["timings"];
  CHECK(timings["exact_lookup"]["count"] == 30);
  CHECK(timings["miss_lookup"]["count"] == 60);
  CHECK(timings["miss_lookup"]["p50_us"].get<double>() > 0);
  require_code(run_tool("pc-sim " + bert + " --pairs " + pairs + " --tau -1 --timings --threads 3 --tau-step 0.5"), 0,
               {"semantic hits"});
}

TEST_CASE("pc-sim says when no hit can be right, and warns of prompts in both files") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  const std::string negative = directory.write("n.tsv", some_pairs(0, false));
  require_code(run_tool("pc-sim " + bert + " --pairs " + negative + " --tau 0.9 --json " + directory.file("s.json")), 0,
               {"efficiency is undefined", "no two prompts share"});
  CHECK(read_json(directory.file("s.json"))["model"]["efficiency"].is_null());
  require_code(run_tool("pc-sim " + bert + " --pairs " + pairs + " --tune " + negative), 2,
               {"n.tsv", "share a response"});
  require_code(run_tool("pc-sim " + bert + " --pairs " + pairs + " --tune " + pairs + " --shuffles 1"), 0,
               {"warning: 60 prompts are in both files"});
}

TEST_CASE("pc-sim exit codes: usage and input 2, help 0") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", some_pairs());
  const std::string begin = "pc-sim " + bert + " --pairs " + pairs;
  require_code(run_tool("pc-sim --help"), 0, {"--tune", "Example", "Efficiency ="});
  require_code(run_tool("pc-sim " + bert + " --tau 0.9"), 2, {"--pairs", "--clusters"});
  require_code(run_tool(begin), 2, {"--tau", "--tune"});
  require_code(run_tool(begin + " --tau 0.9 --tune " + pairs), 2, {"--tau", "--tune"});
  require_code(run_tool(begin + " --tau 1.5"), 2, {"--tau"});
  require_code(run_tool(begin + " --tau nan"), 2, {"--tau", "nan"});
  require_code(run_tool(begin + " --tau 0.9 --drift 1"), 2, {"drift", "Zipf"});
  require_code(run_tool(begin + " --tau 0.9 --again nan"), 2, {"--again", "nan"});
  require_code(run_tool(begin + " --tau 0.9 --eviction fifo"), 2, {"--eviction"});
  require_code(run_tool(begin + " --tau 0.9 --shuffles 0"), 2, {"--shuffles"});
  require_code(run_tool("pc-sim --model /nowhere --pairs " + pairs + " --tau 0.9"), 2, {"/nowhere"});
  const std::string model_and_tau = "pc-sim " + bert + " --tau 0.9 ";
  require_code(run_tool(model_and_tau + "--pairs " + directory.path()), 2, {directory.path()});
  require_code(run_tool(model_and_tau + "--pairs " + directory.write("e.tsv", "")), 2, {"e.tsv", "empty file"});
  require_code(run_tool(model_and_tau + "--pairs " + directory.write("m.tsv", "q1\tlabel\na\t1\n")), 2, {"'q2'"});
  require_code(run_tool(model_and_tau + "--pairs " + directory.write("o.tsv", "q1\tq2\tlabel\na\ta\t1\n")), 2,
               {"o.tsv", "1 prompt", "at least two"});
  require_code(run_tool(model_and_tau + "--clusters " + pairs), 2, {"p.tsv:1", "'prompt'"});
  require_code(run_tool(model_and_tau + "--clusters " + pairs + " --columns q1"), 2, {"--columns", "two names"});
}

TEST_CASE("pc-sim looks whether the report can be written before the long work") {
  const test::TemporaryDirectory directory;
  const std::string begin = "pc-sim " + both + " --pairs " + directory.write("p.tsv", some_pairs()) + " --tau 0.9";
  // A place that cannot be written is named before the prompts are read, let alone embedded.
  for (const std::string option : {"--json", "--report"}) {
    const ToolResult result = run_tool(begin + " " + option + " /nowhere/x.html");
    require_code(result, 2, {"/nowhere/x.html"});
    CHECK(result.output.find("embedding") == std::string::npos);
  }
  require_code(run_tool(begin + " --report " + directory.file("x.pdf")), 2, {"x.pdf", ".html or .md"});
  std::filesystem::create_directory(directory.file("d.html"));
  require_code(run_tool(begin + " --report " + directory.file("d.html")), 2, {"d.html", "a directory"});

  const std::string path = std::getenv("PATH");
  REQUIRE(::setenv("PATH", directory.path().c_str(), 1) == 0);
  const ToolResult missing = run_tool(begin + " --report " + directory.file("r.html"));
  const ToolResult markdown = run_tool(begin + " --shuffles 2 --report " + directory.file("r.md"));
  REQUIRE(::setenv("PATH", path.c_str(), 1) == 0);
  require_code(missing, 2, {"gnuplot", "no such program", "gnuplot-nox"});
  CHECK(missing.output.find("embedding") == std::string::npos);
  CHECK_FALSE(std::filesystem::exists(directory.file("r.html")));
  require_code(markdown, 0, {});  // has no pictures
  CHECK(std::filesystem::exists(directory.file("r.md")));
}

TEST_CASE("pc-sim writes its page as HTML and as Markdown") {
  const test::TemporaryDirectory directory;
  const std::string begin = "pc-sim " + both + " --pairs " + directory.write("p.tsv", some_pairs()) + " --tune " +
                            directory.write("t.tsv", some_pairs(100)) + " --shuffles 5 --latency-ms 800 --timings";
  require_code(run_tool(begin + " --report " + directory.file("r.html")), 0, {});
  const std::string page = promptcache::read_file(directory.file("r.html"));
  for (const char* piece : {"<svg role=\"img\"", "var(--model)", "prefers-color-scheme:dark", "@media print",
                            "width=device-width", "hits of unknown truth", "SHA-256", "What it saves", "p99, us"}) {
    INFO(piece);
    CHECK(page.find(piece) != std::string::npos);
  }
  for (const char* piece : {"<script", "src=", "http-equiv", "url(", "@import", "rgb(", "href=\"http"}) {
    INFO(piece);
    CHECK(page.find(piece) == std::string::npos);
  }
  CHECK(page.find(directory.path()) == std::string::npos);
  require_code(run_tool(begin + " --report " + directory.file("r.md")), 0, {});
  const std::string text = promptcache::read_file(directory.file("r.md"));
  CHECK(text.rfind("# What a cache does", 0) == 0);
  CHECK(text.find("| --- | ---: |") != std::string::npos);
  CHECK(text.find("<svg") == std::string::npos);
}
