#include <nlohmann/json.hpp>

#include "promptcache/base/file.hpp"
#include "tools/run_tool.hpp"

namespace {

const char* const schema =
    "<schema name='trip'><system>You are a guide.</system><user>"
    "<module name='rome'>Rome has the Colosseum and the Forum. Spring there is mild.</module>"
    "<module name='plan'>I stay <parameter name='days' length='4'/></module></user><assistant></schema>";
const char* const prompt = "<prompt schema='trip'><rome/><plan days='two days'/> What first?</prompt>";

struct Files {
  test::TemporaryDirectory directory;
  std::string llm = "pc-run --llm " + test::smollm2_file() + " --threads 2 --max-tokens 8";
  std::string trip = directory.write("trip.pml", schema);
  std::string rome = directory.write("rome.pml", prompt);
};

}  // namespace

TEST_CASE("pc-run answers over modules, reuses them, and compares with running without") {
  PROMPTCACHE_REQUIRE_SMOLLM2();
  const Files files;
  const std::string json = files.directory.file("run.json");
  const auto result = test::run_tool(files.llm + " --schema " + files.trip + " --prompt " + files.rome + " --prompt " +
                                     files.rome + " --encode-ahead --compare --json " + json);
  test::require_code(result, 0,
                     {"schema 'trip'", "tokens encoded in", "first token after", "approximate", "without reuse after"});
  const auto runs = nlohmann::json::parse(promptcache::read_file(json));
  REQUIRE(runs.size() == 2);
  CHECK(runs[0]["answer"] == runs[1]["answer"]);
  CHECK_FALSE(runs[0]["answer"].get<std::string>().empty());
  CHECK(runs[0]["tokens_reused"] == runs[1]["tokens_reused"]);
  CHECK(runs[0]["tokens_reused"].get<int>() > 20);
  CHECK(runs[0]["tokens_computed"].get<int>() < 15);
  CHECK(runs[0]["without_reuse"]["kl"].get<double>() < 2);
  // With a file the next process has them, too.
  const std::string with_store = files.llm + " --schema " + files.trip + " --prompt " + files.rome + " --json " + json +
                                 " --store " + files.directory.file("states.kv") + " --store-size 64";
  test::require_code(test::run_tool(with_store), 0, {"0 tokens reused"});
  test::require_code(test::run_tool(with_store), 0, {"first token after"});
  test::require_code(test::run_tool(with_store + " --store-read-only"), 0, {"first token after"});
  const auto later = nlohmann::json::parse(promptcache::read_file(json));
  CHECK(later[0]["tokens_reused"] == runs[0]["tokens_reused"]);
  CHECK(later[0]["answer"] == runs[0]["answer"]);
  // With every module token computed again it is what it is without reuse.
  const auto repaired = test::run_tool(files.llm + " --schema " + files.trip + " --prompt " + files.rome +
                                       " --recompute-first 100 --compare --json " + json);
  test::require_code(repaired, 0, {"of them again", "likeliest token the same", "its answer is the same"});
}

TEST_CASE("pc-run converses, and takes up what it computed before") {
  PROMPTCACHE_REQUIRE_SMOLLM2();
  const Files files;
  const std::string json = files.directory.file("run.json");
  const std::string lines = files.directory.write("lines.txt", "What is a cache?\n\nSay it again.\n");
  const auto result = test::run_tool(files.llm + " --json " + json + " < " + lines);
  test::require_code(result, 0, {"exact"});
  const auto turns = nlohmann::json::parse(promptcache::read_file(json));
  REQUIRE(turns.size() == 2);
  CHECK(turns[1]["tokens_computed"].get<int>() < 20);
  const std::string chat = files.directory.write(
      "chat.json", R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]})");
  const auto from_file = test::run_tool(files.llm + " --weights bf16 --kv bf16 --chat " + chat);
  const auto from_text = test::run_tool(files.llm + " --weights bf16 --kv bf16 --system 'Be brief.' --text Hi");
  CHECK(from_file.code == 0);
  CHECK(from_file.output.substr(0, from_file.output.find("first token")) ==
        from_text.output.substr(0, from_text.output.find("first token")));
}

TEST_CASE("pc-run refuses what it cannot use, with the place") {
  PROMPTCACHE_REQUIRE_SMOLLM2();
  const Files files;
  const auto refused = [&](const std::string& arguments, std::initializer_list<std::string> pieces) {
    test::require_code(test::run_tool(arguments), 2, pieces);
  };
  refused("pc-run --llm " + files.directory.path(), {"config.json"});
  refused("pc-run --llm " + files.trip + " --text x", {"trip.pml", "GGUF"});
  refused(files.llm + " --schema " + files.trip + " --prompt " +
              files.directory.write("bad.pml", "<prompt schema='trip'>\n <oslo/></prompt>"),
          {"bad.pml:2:2", "module 'oslo'"});
  refused(files.llm + " --schema " + files.trip + " --prompt " +
              files.directory.write("long.pml",
                                    "<prompt schema='trip'><plan days='a very long stay of many days'/></prompt>"),
          {"long.pml:1:23", "argument 'days' of", "at most 4"});
  refused(files.llm + " --chat " + files.directory.write("bad.json", "[{\"role\": \"robot\", \"content\": \"x\"}]"),
          {"role 'robot'"});
  refused(files.llm + " --chat " + files.directory.write("none.json", "{}"), {"none.json", "no messages"});
  refused(files.llm + " --text x --encoding magic", {"--encoding", "magic"});
  refused(files.llm + " --text x --temperature nan", {"temperature"});
  refused(files.llm + " --text x --device cuda:77", {"'cuda:77'"});
}
