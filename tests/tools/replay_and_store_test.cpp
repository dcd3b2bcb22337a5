#include "cache/fakes.hpp"
#include "promptcache/base/file.hpp"
#include "tools/run_tool.hpp"

namespace {

using namespace promptcache;
using test::require_code;
using test::run_tool;
using test::ToolResult;

/// 200 lookups of random words under a policy, recorded. Returns how many semantic hits there were.
std::size_t record(const std::string& path, const std::shared_ptr<CachePolicy>& policy) {
  Cache cache({.embedder = std::make_shared<test::WordEmbedder>(),
               .policy = policy,
               .on_decision = DecisionRecorder(path, *policy)});
  for (int i = 0; i < 200; ++i) {
    const std::string prompt =
        std::to_string(i * 7 % 10) + " " + std::to_string(i * 13 % 11) + " of " + std::to_string(i * i % 7);
    cache.get_or_compute({.prompt = prompt}, [] { return std::string("a"); });
  }
  return cache.stats().semantic_hits;
}

}  // namespace

TEST_CASE("pc-replay decides recorded lookups again, to the bit under the same policy") {
  const test::TemporaryDirectory directory;
  const std::string records = directory.file("decisions.jsonl");
  std::shared_ptr<CachePolicy> policy;
  SECTION("threshold") { policy = std::make_shared<ThresholdPolicy>(0.712345678901234); }
  SECTION("calibrated") {
    policy = std::make_shared<CalibratedPolicy>(Calibration{0.0712345, 9.1},
                                                CalibratedPolicyOptions{.target_wrong_hits = 0.3});
  }
  SECTION("never") { policy = CalibratedPolicy::with_threshold({0.07, 9}, std::numeric_limits<double>::infinity()); }
  const std::size_t hits = record(records, policy);
  require_code(run_tool("pc-replay --records " + records), 0,
               {"200 lookups", policy->describe().substr(0, 12), "differ in any bit 0",
                "served then " + std::string(8 - std::to_string(hits).size(), ' ') + "       " + std::to_string(hits)});
  const ToolResult strict =
      run_tool("pc-replay --records " + records + " --threshold 1 --changes " + directory.file("changes"));
  const std::string changes = read_file(directory.file("changes"));
  const auto lines_with = [&](const std::string& text) {
    std::size_t count = 0;
    for (std::size_t at = changes.find(text); at != std::string::npos; at = changes.find(text, at + 1)) ++count;
    return count;
  };
  char rows[2][64];
  std::snprintf(rows[0], sizeof(rows[0]), "served no more     %8zu", lines_with("\"serve\":true"));
  std::snprintf(rows[1], sizeof(rows[1]), "newly served       %8zu", lines_with("\"serve\":false"));
  require_code(strict, 0, {"similarity > 1", rows[0], rows[1]});
  CHECK(changes.empty() == (hits == 0));
  CHECK(lines_with("\"serve\":true") <= hits);
}

TEST_CASE("pc-replay names what it cannot read") {
  const test::TemporaryDirectory directory;
  require_code(run_tool("pc-replay --help"), 0, {"--records", "Example"});
  require_code(run_tool("pc-replay --records " + directory.file("none")), 2, {"none", "No such file"});
  require_code(run_tool("pc-replay --records " + directory.write("a", "")), 2, {"no records"});
  require_code(run_tool("pc-replay --records " + directory.write("b", "{\"policy\": null}\n")), 2, {"b:1", "own"});
  require_code(run_tool("pc-replay --records " + directory.write("c", "{\"policy\": {\"kind\": \"x\"}}\n")), 2,
               {"'x'"});
  require_code(run_tool("pc-replay --records " + directory.write("d", "{}\n")), 2, {"d:1", "no 'time'"});
}

TEST_CASE("pc-store checks, exports and imports") {
  const test::TemporaryDirectory directory;
  const std::string path = directory.file("store.db");
  {
    Cache cache({.embedder = std::make_shared<test::WordEmbedder>(),
                 .policy = std::make_shared<ThresholdPolicy>(0.99),
                 .store = SqliteStore::open(path)});
    for (const char* prompt : {"one", "two", "a long one"}) {
      cache.get_or_compute({.prompt = prompt, .scope = Scope().tenant("t")},
                           [&] { return "to " + std::string(prompt); });
    }
    require_code(run_tool("pc-store check --store " + path), 1, {"open already", "process"});
  }
  require_code(run_tool("pc-store check --store " + path), 0,
               {"3 entries, 1 of them for exact", "in 1 scopes", "0 damaged"});
  require_code(run_tool("pc-store export --store " + path + " --out " + directory.file("e.jsonl")), 0,
               {"3 entries written"});
  const std::string copy = directory.file("copy.db");
  require_code(run_tool("pc-store import --store " + copy + " --from " + directory.file("e.jsonl")), 0,
               {"3 entries stored"});
  Cache cache({.embedder = std::make_shared<test::WordEmbedder>(),
               .policy = std::make_shared<ThresholdPolicy>(0.99),
               .store = SqliteStore::open(copy)});
  const Lookup found = cache.lookup({.prompt = "two", .scope = Scope().tenant("t")});
  CHECK(found.reply().response == "to two");
  CHECK(cache.invalidate({.fields = Scope().tenant("t")}, true) == 3);

  require_code(run_tool("pc-store"), 2, {"subcommand"});
  require_code(run_tool("pc-store check --store " + directory.file("none")), 2, {"none"});
  CHECK_FALSE(std::filesystem::exists(directory.file("none")));
  require_code(
      run_tool("pc-store import --store " + directory.file("x.db") + " --from " + directory.write("bad", "{}\n")), 2,
      {"bad:1"});
}
