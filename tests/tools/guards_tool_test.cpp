#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "run_tool.hpp"

namespace {

const char* const pairs =
    "q1\tq2\tlabel\n"
    "cook 5 eggs\tcook 7 eggs\t0\n"
    "cook 5 eggs\tcook five eggs\t1\n"
    "is the blue car fast\tis the red car fast\t1\n";

}  // namespace

TEST_CASE("pc-guards says why two prompts differ") {
  const auto result = test::run_tool("pc-guards --prompts 'cook 5 eggs' 'cook 7 eggs'");
  test::require_code(result, 0, {"number: 5 in one, 7 in the other"});
  const auto same = test::run_tool("pc-guards --prompts 'cook 5 eggs' 'cook five eggs'");
  CHECK(same.code == 0);
  CHECK(same.output.empty());
}

TEST_CASE("pc-guards measures guards on labelled pairs and shows those vetoed in error") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.write("pairs.tsv", pairs);
  const std::string json = directory.file("guards.json");
  test::require_code(test::run_tool("pc-guards --pairs " + file + " --json " + json), 0,
                     {"3 pairs, 33.3 %", "number", "replaced", "category"});
  const auto table = nlohmann::json::parse(promptcache::read_file(json));
  CHECK(table["pairs"]["negatives"] == 1);
  bool seen = false;
  for (const auto& row : table["guards"]) {
    if (row["kind"] != "number" || row["strength"] != "replaced") continue;
    seen = true;
    CHECK(row["negatives"] == 1);
    CHECK(row["positives"] == 0);
    CHECK(row["precision"] == 1.0);
  }
  CHECK(seen);
  test::require_code(test::run_tool("pc-guards --pairs " + file + " --show category/replaced"), 0,
                     {"4 [replaced] category", "blue in one, red in the other", "is the red car fast"});
}

TEST_CASE("pc-guards refuses wrong usage and wrong files") {
  const test::TemporaryDirectory directory;
  const std::string file = directory.write("pairs.tsv", pairs);
  CHECK(test::run_tool("pc-guards").code == 2);
  CHECK(test::run_tool("pc-guards --prompts one").code == 2);
  test::require_code(test::run_tool("pc-guards --pairs " + directory.file("none.tsv")), 2, {"none.tsv"});
  const std::string list = directory.write("list.txt", "[nagators]\n");
  test::require_code(test::run_tool("pc-guards --pairs " + file + " --list " + list), 2, {"list.txt:1", "nagators"});
  CHECK(test::run_tool("pc-guards --pairs " + file + " --similar-above 0.8").code == 2);
  test::require_code(test::run_tool("pc-guards --pairs " + file + " --show colour"), 2, {"colour", "--show"});
}
