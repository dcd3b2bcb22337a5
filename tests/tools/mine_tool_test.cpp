#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "promptcache/base/file.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "tools/run_tool.hpp"

namespace {

using test::require_code;
using test::run_tool;
using test::ToolResult;

const std::string model = " --model " + test::data_file("tiny_bert");
const std::string neighbours = "pc-mine neighbours --threads 2" + model;

std::string some_prompts(std::size_t count) {
  std::string text = "id\tprompt\n";
  for (std::size_t i = 0; i < count; ++i) {
    text += std::to_string(i) + "\thow do i change item " + std::to_string(i) + " to number " +
            std::to_string(i * i % 17) + "?\n";
  }
  return text;
}

std::vector<std::vector<std::string>> rows_of(const std::string& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(promptcache::read_file(path));
  for (std::string line; std::getline(lines, line);) {
    rows.emplace_back();
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, '\t');) rows.back().push_back(cell);
  }
  return rows;
}

std::string labelled(bool both) {
  std::string text = "q1\tq2\tlabel\tsimilarity\n";
  for (int i = 0; i < 60; ++i) {
    text += "a" + std::to_string(i) + "\tb" + std::to_string(i) + "\t" + (both && i % 3 == 0 ? "1" : "0") + "\t0." +
            std::to_string(100 + i * 37 % 60) + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("pc-mine neighbours writes each near pair once, with counts, and says what it did") {
  const test::TemporaryDirectory directory;
  const std::string log = directory.write("log.tsv", some_prompts(120) + "7\thow do i change item 7 to number 15?\n\n");
  const std::string out = directory.file("pairs.tsv");
  const ToolResult result =
      run_tool(neighbours + " --prompts " + log + " --k 2 --out " + out + " --json " + directory.file("n.json"));
  require_code(result, 0,
               {"121 prompts, 120 distinct, 1 empty lines skipped", "estimate: embedding", "exact search",
                "pairs of 120 distinct prompts", "embedding"});
  const auto rows = rows_of(out);
  CHECK(rows[0] == std::vector<std::string>{"q1", "q2", "similarity", "count1", "count2"});
  std::set<std::pair<std::string, std::string>> seen;
  bool counted = false;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    REQUIRE(rows[i].size() == 5);
    CHECK(seen.insert({rows[i][0], rows[i][1]}).second);
    CHECK(seen.count({rows[i][1], rows[i][0]}) == 0);
    const double similarity = std::stod(rows[i][2]);
    CHECK(similarity <= 1);
    counted = counted || (rows[i][0] == "how do i change item 7 to number 15?" && rows[i][3] == "2");
  }
  CHECK(counted);
  CHECK(rows.size() > 120);
  const auto json = nlohmann::json::parse(promptcache::read_file(directory.file("n.json")));
  CHECK(json["prompts"] == 121);
  CHECK(json["distinct"] == 120);
  CHECK(json["skipped"] == 1);
  CHECK(json["pairs"] == rows.size() - 1);
  CHECK(json["peak_memory_bytes"].get<double>() > 1e6);
  for (const char* step : {"read", "embed", "search", "write"}) CHECK(json["seconds"][step].is_number());
  // Threads and blocks change nothing.
  require_code(run_tool("pc-mine neighbours --threads 1 --memory 1" + model + " --prompts " + log + " --k 2 --out " +
                        directory.file("again.tsv")),
               0, {});
  CHECK(promptcache::read_file(out) == promptcache::read_file(directory.file("again.tsv")));
}

TEST_CASE("pc-mine neighbours: band, random pairs, graph, JSON lines, dry run") {
  const test::TemporaryDirectory directory;
  const std::string log = directory.write("log.tsv", some_prompts(90));
  const std::string out = directory.file("pairs.tsv");
  const std::string begin = neighbours + " --prompts " + log + " --out " + out;
  require_code(run_tool(begin + " --band=-1,1 --json " + directory.file("b.json")), 0,
               {"4005 pairs of 90", "4005 pairs are in the band"});
  CHECK(nlohmann::json::parse(promptcache::read_file(directory.file("b.json")))["in_band"] == 4005);
  CHECK(rows_of(out).size() == 4006);
  require_code(run_tool(begin + " --band -1,1 --max-pairs 100 --seed 4"), 0, {"100 pairs of 90", "4005 pairs are"});
  require_code(run_tool(begin + " --random 50 --seed 4"), 0, {"50 pairs of 90"});
  const std::string first = promptcache::read_file(out);
  require_code(run_tool(begin + " --random 50 --seed 4"), 0, {});
  CHECK(first == promptcache::read_file(out));
  require_code(run_tool(begin + " --random 50 --seed 5"), 0, {});
  CHECK(first != promptcache::read_file(out));
  require_code(run_tool(begin + " --graph"), 0, {"recall", "of the exact neighbours of 90 prompts"});
  require_code(run_tool(begin + " --earlier"), 0, {"89 pairs of 90"});
  CHECK(rows_of(out)[0].back() == "next_similarity");
  CHECK(rows_of(out)[1].size() == 5);  // the second prompt has no second neighbour
  CHECK(rows_of(out)[89].size() == 6);
  CHECK(rows_of(out)[89][0] == "how do i change item 89 to number 16?");
  require_code(run_tool(begin + " --earlier --k 2"), 2, {"--k excludes --earlier"});
  const std::string answered = directory.write(
      "answered.tsv",
      "prompt\tresponse\nhow do i cook rice\tBoil it.\nhow is rice cooked\tBoil it.\nhow to cook rice\tBoil it.\n");
  require_code(run_tool(neighbours + " --prompts " + answered + " --earlier --out " + out), 0,
               {"1 distinct responses"});
  CHECK(rows_of(out)[0].back() == "agreement");
  CHECK(rows_of(out)[2].back() == "1");
  require_code(run_tool(begin + " --limit 10 --k 9"), 0, {"45 pairs of 10 distinct prompts"});
  const std::string lines = directory.write("log.jsonl", "{\"body\": \"a\"}\n{\"body\": \"A?\"}\n{\"body\": \"b\"}\n");
  require_code(run_tool(neighbours + " --prompts " + lines + " --column body --merge normalized --k 1 --out " + out), 0,
               {"json, column body", "3 prompts, 2 distinct", "1 pairs"});
  CHECK(rows_of(out)[1][3] == "2");
  require_code(run_tool(neighbours + " --dry-run --prompts " + log), 0, {"estimate: embedding", "MiB"});
}

TEST_CASE("pc-mine neighbours: input and usage that are no good end with 2 and say why") {
  const test::TemporaryDirectory directory;
  const std::string out = directory.file("out.tsv");
  const auto refused = [&](const std::string& arguments, std::initializer_list<std::string> pieces) {
    INFO(arguments);
    require_code(run_tool(neighbours + " --out " + out + " " + arguments), 2, pieces);
    CHECK(!std::filesystem::exists(out));
    CHECK(!std::filesystem::exists(out + ".partial"));
  };
  const auto content = [&](const std::string& text) { return "--prompts " + directory.write("log", text); };
  const std::string good = content("a\nb\nc\nd\n");
  refused("--prompts /nowhere/log", {"/nowhere/log", "No such file"});
  refused("--prompts " + directory.path(), {directory.path(), "directory"});
  refused(good + " --k 4", {"--k", "4 neighbours in a log of 4 distinct prompts", "at most 3"});
  refused(good + " --k 0", {"--k"});
  refused(good + " --random 7", {"--random", "at most 6"});
  refused(good + " --band 0.9", {"--band", "'0.9'", "0.7,0.95"});
  refused(good + " --band 0.9,0.8", {"--band", "lower one first"});
  refused(good + " --band nan,1", {"--band"});
  refused(good + " --band 0,1 --k 1", {"excludes"});
  refused(good + " --band 0,1 --max-pairs 3 --strata 4", {"--max-pairs", "4 strata"});
  refused(good + " --column prompt", {"log:1", "columns 'a'", "'prompt'"});
  refused(good + " --json /nowhere/j.json", {"/nowhere/j.json"});
  refused(good + " --json " + directory.path(), {"a directory"});
  refused(good + " --json " + directory.file("log"), {"the prompt log"});
  refused(content("a\n"), {"one distinct prompt, 1 times", "at least two"});
  refused(content("a\na\na\n\n"), {"one distinct prompt, 3 times"});
  refused(content(""), {"an empty file"});
  refused(content("prompt\n\n"), {"no prompt"});
  refused(content("{\"text\": \"a\"}\n{\"body\": \"b\"}\n"), {"log:2", "'text'"});
  require_code(run_tool(neighbours + " " + content("a\nb\n")), 2, {"--out"});
  require_code(run_tool("pc-mine neighbours --model /nowhere --k 1 --out " + out + " " + good), 2, {"/nowhere"});
  require_code(run_tool("pc-mine neighbours --help"), 0, {"Example:", "count1", "automatic"});
}

TEST_CASE("Ctrl-C while pc-mine works ends it with 130 and leaves no half file") {
  const test::TemporaryDirectory directory;
  const std::string log = directory.write("log.tsv", some_prompts(60'000));
  const std::string out = directory.file("out.tsv");
  const std::string messages = directory.write("messages", "");
  const std::string tool = std::string(PROMPTCACHE_TEST_TOOLS) + "/pc-mine";
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const std::string directory_of_model = test::data_file("tiny_bert");
    if (std::freopen(messages.c_str(), "w", stderr) == nullptr) std::_Exit(99);
    ::execl(tool.c_str(), "pc-mine", "neighbours", "--model", directory_of_model.c_str(), "--prompts", log.c_str(),
            "--out", out.c_str(), static_cast<char*>(nullptr));
    std::_Exit(98);
  }
  // The estimate is the last line before the work, which takes seconds.
  for (int i = 0; i < 6000 && promptcache::read_file(messages).find("estimate") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(child, SIGINT);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  INFO(promptcache::read_file(messages));
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(promptcache::read_file(messages).find("interrupted; nothing was written") != std::string::npos);
  CHECK(!std::filesystem::exists(out));
  CHECK(!std::filesystem::exists(out + ".partial"));
}

TEST_CASE("pc-mine select: by strata, with measures, and only of pairs of both labels") {
  const test::TemporaryDirectory directory;
  const std::string pairs = directory.write("p.tsv", labelled(true));
  const std::string begin = "pc-mine select --out " + directory.file("o.tsv") + " --json " + directory.file("s.json");
  require_code(run_tool(begin + " --method stratified --strata 4 --pairs " + pairs), 0,
               {"of 60 pairs", "by construction"});
  auto json = nlohmann::json::parse(promptcache::read_file(directory.file("s.json")));
  CHECK(json["method"] == "stratified");
  CHECK(json["strata"] == 4);
  CHECK(json["pairs"] == 60);
  CHECK(json["kept"] == 2 * json["kept_positives"].get<int>());
  CHECK(promptcache::read_pair_file(directory.file("o.tsv")).pairs.size() == json["kept"]);
  require_code(run_tool(begin + " --pairs " + pairs), 0, {"by construction"});
  json = nlohmann::json::parse(promptcache::read_file(directory.file("s.json")));
  CHECK(json["method"] == "boundary");
  CHECK(json["auc_kept"].get<double>() == Approx(0.5).margin(0.1));
  CHECK(json["auc_all"].is_number());
  const std::string one = directory.write("one.tsv", labelled(false));
  require_code(run_tool(begin + " --pairs " + one), 2, {"one.tsv", "all 60 pairs with label 0", "both labels"});
  require_code(run_tool(begin + " --method stratified --pairs " + one), 2, {"both labels"});
  require_code(run_tool(begin + " --method random --pairs " + pairs), 2, {"--method"});
  const std::string apart = directory.write("apart.tsv", "q1\tq2\tlabel\tsimilarity\na\tb\t0\t0.1\nc\td\t1\t0.9\n");
  require_code(run_tool(begin + " --method stratified --strata 2 --pairs " + apart), 2, {"fewer --strata"});
  require_code(run_tool("pc-mine select --help"), 0, {"forces", "stratified"});
}

TEST_CASE("pc-mine split: counts as JSON, and an error for a part without pairs") {
  const test::TemporaryDirectory directory;
  const std::string begin = "pc-mine split --out-dir " + directory.file("d") + " --pairs ";
  require_code(run_tool(begin + directory.write("p.tsv", labelled(true)) + " --json " + directory.file("s.json")), 0,
               {"train.tsv: 42 pairs, 14 positive"});
  const auto json = nlohmann::json::parse(promptcache::read_file(directory.file("s.json")));
  CHECK(json["pairs"] == 60);
  CHECK(json["train"]["pairs"] == 42);
  CHECK(json["train"]["positives"] == 14);
  CHECK(json["test"]["pairs"] == 12);
  std::filesystem::remove_all(directory.file("d"));
  require_code(run_tool(begin + directory.file("p.tsv") + " --ratios 1:0:1"), 2, {"valid", "1:0:1"});
  const std::string two = directory.write("two.tsv", "q1\tq2\tlabel\na\tb\t0\nb\tc\t1\n");
  require_code(run_tool(begin + two), 2, {"without a pair", "2 pairs"});
  require_code(run_tool(begin + directory.file("p.tsv") + " --ratios 1:x:1"), 2, {"--ratios"});
  CHECK(!std::filesystem::exists(directory.file("d")));
}
