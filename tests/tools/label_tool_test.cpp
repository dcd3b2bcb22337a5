#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/label_setup.hpp"

namespace {

using namespace test;
using nlohmann::json;
using promptcache::read_file;

}  // namespace

TEST_CASE("pc-label labels a file, keeps its columns, and says what it took") {
  ::unsetenv("OPENAI_API_KEY");
  const Setup setup;
  Judge judge;
  const ToolResult result =
      setup.run(judge.url(), "--price-in 1 --price-out 10 --json " + setup.directory.file("figures.json"));
  require_code(result, 0, {"out.tsv: 20 pairs", "20 of 20 pairs, 10 positive (50.0 %)", "2000 in, 40 out", "0.0024"});
  const promptcache::PairFile file = setup.labelled();
  CHECK(file.columns ==
        std::vector<std::string>{"id", "q1", "q2", "similarity", "label", "label_model", "label_prompt"});
  REQUIRE(file.pairs.size() == 20);
  for (int i = 0; i < 20; ++i) {
    CHECK(file.rows[i][0] == std::to_string(i));
    CHECK(file.pairs[i].label == (i % 2 == 0 ? 1 : 0));
    CHECK(file.rows[i][5] == "judge");
    CHECK(file.rows[i][6].substr(0, 4) == "own-");
  }
  const json figures = json::parse(read_file(setup.directory.file("figures.json")));
  CHECK(figures["end"] == "complete");
  CHECK(figures["labelled"] == 20);
  CHECK(figures["requests"] == 20);
  CHECK(figures["tokens"]["in"] == 2000);
  CHECK(figures["endpoint"] == judge.url());
  CHECK_FALSE(std::filesystem::exists(setup.out + ".unanswered.tsv"));

  require_code(setup.run(judge.url()), 2, {"earlier run", "--resume"});
  require_code(setup.run(judge.url(), "--resume"), 0, {"20 from the journal", "requests                0"});
  CHECK(judge.requests() == 20);
  require_code(setup.run(judge.url(), "--resume --answer graded"), 2, {"prompt_version"});
}

TEST_CASE("pc-label audits against people: the column of the pairs, or a file") {
  const Setup setup(pairs_text(30, true));
  Judge judge;
  const std::string figures_path = setup.directory.file("figures.json");
  // People say yes to every third, the teacher to every second: 5 both, 5 people alone, 10 the teacher alone, 10
  // neither.
  require_code(setup.run(judge.url(), "--audit --json " + figures_path), 0,
               {"30 pairs", "agreement            50.0 %", "kappa               0.000", "0.100 to 0.105", "yes/no"});
  json figures = json::parse(read_file(figures_path));
  CHECK(figures["audit"]["human_yes_teacher_no"] == 5);
  CHECK(figures["audit"]["human_no_teacher_yes"] == 10);
  CHECK(figures["audit"]["bands"].size() == 5);
  const promptcache::PairFile file = setup.labelled();
  REQUIRE(file.column("label_before") != promptcache::PairFile::npos);
  CHECK(file.rows[3][file.column("label_before")] == "1");
  CHECK(file.pairs[3].label == 0);

  const std::string people = setup.directory.write(
      "people.tsv",
      "q1\tq2\tlabel\nfirst 2\tsecond 2\t1\nsecond 4\tfirst 4\t0\nfirst 5\tsecond 5\t0\nother\tpair\t1\n");
  require_code(setup.run(judge.url(), "--resume --audit " + people), 0,
               {"3 pairs; 0 they judged have no label, 27 they did not judge", "66.7 %"});
  require_code(setup.run(judge.url(), "--resume --audit " + setup.directory.file("none.tsv")), 2, {"none.tsv"});
  CHECK(judge.requests() == 30);
  const Setup unlabelled;
  require_code(unlabelled.run(judge.url(), "--audit"), 2, {"no column 'label'"});
  CHECK(judge.requests() == 30);
}

TEST_CASE("pc-label asks in both orders") {
  const Setup setup;
  Judge judge([](const std::string& question, std::size_t, Peer& peer) {
    peer.reply(200, completion(question[0] == 'f' ? verdict(question) : "no"));
  });
  require_code(setup.run(judge.url(), "--both-orders"), 0, {"10 pairs disagree (50.0 %), mean difference 0.500"});
  const promptcache::PairFile file = setup.labelled();
  CHECK(file.pairs[0].label == 0.5);
  CHECK(file.pairs[1].label == 0);
  CHECK(file.rows[0][file.column("label_forward")] == "1");
  CHECK(file.rows[0][file.column("label_reverse")] == "0");
}

TEST_CASE("pc-label asks for grades and JSON") {
  const Setup setup;
  Judge graded([](const std::string&, std::size_t, Peer& peer) { peer.reply(200, completion("3")); });
  require_code(setup.run(graded.url(), "--answer graded"), 0, {});
  CHECK(setup.labelled().pairs[7].label == 0.75);
  const Setup other;
  std::atomic<int> with_mode{0};
  LoopbackServer server([&](const WebRequest& request, Peer& peer) {
    if (has(request.body, "response_format")) {
      ++with_mode;
      peer.reply(400, R"({"error": {"message": "response_format is not supported"}})");
    } else {
      peer.reply(200, completion("{\"score\": 0.3}"));
    }
  });
  require_code(other.run(server.url(), "--answer json --parallel 1"), 0, {"refuses JSON mode", "asking without it"});
  CHECK(with_mode == 1);
  CHECK(other.labelled().pairs[7].label == 0.3);
}

TEST_CASE("pc-label stays within a budget, and writes a part when asked to") {
  const Setup setup;
  Judge judge;
  require_code(setup.run(judge.url(), "--budget-requests 8"), 1, {"over the budget", "--resume", "8 of 20 pairs"});
  CHECK_FALSE(std::filesystem::exists(setup.out));
  CHECK(judge.requests() == 8);
  require_code(setup.run(judge.url(), "--resume --budget-requests 4 --partial"), 0,
               {"out.tsv: 12 pairs; 8 without a label", "8 not asked"});
  CHECK(setup.labelled().pairs.size() == 12);
  CHECK(has(read_file(setup.out + ".unanswered.tsv"), "\tunasked\t"));
  require_code(setup.run(judge.url(), "--resume"), 0, {"out.tsv: 20 pairs"});
  CHECK_FALSE(std::filesystem::exists(setup.out + ".unanswered.tsv"));
  CHECK(judge.requests() == 20);
}

TEST_CASE("pc-label --dry-run sends nothing") {
  const Setup setup;
  Judge judge;
  const std::string figures = setup.directory.file("figures.json");
  require_code(setup.run(judge.url(), "--dry-run --both-orders --price-in 2 --price-out 8 --rate 60 --json " + figures),
               0,
               {"40, retries not counted", "4 ASCII characters", "at most, at these prices", "40 s at least",
                "first 0|second 0"});
  CHECK(json::parse(read_file(figures))["requests"] == 40);
  CHECK(judge.requests() == 0);
  CHECK_FALSE(std::filesystem::exists(setup.out + ".journal.jsonl"));
}

TEST_CASE("pc-label names what it cannot use") {
  const Setup setup;
  Judge judge;
  require_code(run_tool("pc-label --help"), 0, {"--endpoint", "Example: pc-label", "--both-orders", "--key-env"});
  require_code(run_tool("pc-label --print-template --answer graded"), 0, {"{q1}", "{q2}", "0 surely not"});
  require_code(run_tool("pc-label --print-template --answer sometimes"), 2, {"'sometimes'", "graded"});
  require_code(run_tool("pc-label --out x"), 2, {"--pairs"});
  const std::string rest = " --out " + setup.out + " --model judge --endpoint " + judge.url();
  const auto with_pairs = [&](const std::string& path) { return run_tool("pc-label --pairs " + path + rest); };
  require_code(with_pairs(setup.directory.path()), 2, {setup.directory.path()});
  require_code(with_pairs(setup.directory.write("empty.tsv", "")), 2, {"empty.tsv", "empty file"});
  require_code(with_pairs(setup.directory.write("head.tsv", "q1\tq2\n")), 2, {"head.tsv", "no pairs"});
  require_code(with_pairs(setup.directory.write("wrong.tsv", "q1\tquestion2\na\tb\n")), 2, {"'q2'", "question2"});
  require_code(with_pairs(setup.directory.file("none.tsv")), 2, {"none.tsv"});
  require_code(setup.run("localhost:80"), 2, {"--endpoint", "http://"});
  require_code(setup.run("http://user:pw@localhost"), 2, {"--key-env"});
  require_code(run_tool("pc-label --pairs " + setup.pairs + rest + " --template " + setup.directory.write("t", "{q1}")),
               2, {"t: found no placeholder {q2}"});
  require_code(setup.run(judge.url(), "--answer maybe"), 2, {"'maybe'"});
  require_code(setup.run(judge.url(), "--parallel 0"), 2, {"--parallel"});
  require_code(setup.run(judge.url(), "--rate -1"), 2, {"--rate"});
  require_code(run_tool("pc-label --pairs " + setup.pairs + " --model m --endpoint " + judge.url() + " --out " +
                        setup.directory.path()),
               2, {setup.directory.path(), "directory"});
  require_code(
      run_tool("pc-label --pairs " + setup.pairs + " --model m --endpoint " + judge.url() + " --out " + setup.pairs), 2,
      {"--out", "another"});
  require_code(run_tool("pc-label --pairs " + setup.pairs + " --model m --endpoint " + judge.url() + " --out " +
                        setup.directory.file("no/such/place.tsv")),
               2, {"no/such/place.tsv"});
  CHECK(judge.requests() == 0);
}
