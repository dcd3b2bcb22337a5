#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>

#include "promptcache/base/file.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "tools/loopback_server.hpp"
#include "tools/run_tool.hpp"

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using promptcache::read_file;
using test::completion;
using test::LoopbackServer;
using test::Peer;
using test::require_code;
using test::run_tool;
using test::ToolResult;
using test::WebRequest;

constexpr const char* secret = "sk-never-to-be-seen-0123456789";

std::string pairs_text(int count, bool labelled = false) {
  std::string text = std::string("id\tq1\tq2\tsimilarity") + (labelled ? "\tlabel" : "") + "\n";
  for (int i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    text += n + "\tfirst " + n + "\tsecond " + n + "\t0." + std::to_string(100 + i);
    if (labelled) text += std::string("\t") + (i % 3 == 0 ? "1" : "0");
    text += "\n";
  }
  return text;
}

/// Yes for every other question.
std::string verdict(const std::string& question) { return (question.back() - '0') % 2 == 0 ? "Yes." : "no"; }

/// Files of one run, and the command line they make.
struct Setup {
  test::TemporaryDirectory directory;
  std::string pairs, out, questions;

  explicit Setup(const std::string& text = pairs_text(20)) {
    pairs = directory.write("pairs.tsv", text);
    out = directory.file("out.tsv");
    questions = directory.write("question.txt", "{q1}|{q2}");
  }
  std::string arguments(const std::string& url) const {
    return "pc-label --pairs " + pairs + " --out " + out + " --endpoint " + url + " --model judge --template " +
           questions + " ";
  }
  ToolResult run(const std::string& url, const std::string& more = "") const { return run_tool(arguments(url) + more); }
  std::string journal() const { return read_file(out + ".journal.jsonl"); }
  promptcache::PairFile labelled() const { return promptcache::read_pair_file(out); }
};

/// A server that judges, and counts how often it was asked each question.
class Judge {
 public:
  explicit Judge(std::function<void(const std::string&, std::size_t times, Peer&)> behave = {},
                 const test::Certificate* certificate = nullptr)
      : behave_(std::move(behave)),
        server_([this](const WebRequest& request, Peer& peer) { answer(request, peer); }, certificate) {}

  std::string url() const { return server_.url(); }
  std::size_t requests() const { return server_.requests(); }
  std::map<std::string, std::size_t> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void answer(const WebRequest& request, Peer& peer) {
    const std::string question = test::question_of(request);
    std::size_t times = 0;
    {
      const std::lock_guard lock(mutex_);
      times = ++asked_[question];
    }
    if (behave_) {
      behave_(question, times, peer);
    } else {
      peer.reply(200, completion(verdict(question)));
    }
  }

  std::function<void(const std::string&, std::size_t, Peer&)> behave_;
  std::mutex mutex_;
  std::map<std::string, std::size_t> asked_;
  LoopbackServer server_;  // last: its threads use the others
};

/// The tool as a child of its own, to be killed.
class Child {
 public:
  Child(const std::string& command, const std::string& output) {
    std::istringstream words(std::string(PROMPTCACHE_TEST_TOOLS) + "/" + command);
    std::vector<std::string> arguments;
    for (std::string word; words >> word;) arguments.push_back(word);
    std::vector<char*> raw;
    for (std::string& word : arguments) raw.push_back(word.data());
    raw.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    REQUIRE(::posix_spawn(&id_, raw[0], &files, nullptr, raw.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&files);
  }
  ~Child() {
    if (id_ > 0) end(SIGKILL);
  }
  /// Sends a signal and waits; the exit code, or 128 and the signal.
  int end(int signal) {
    ::kill(id_, signal);
    int status = 0;
    ::waitpid(id_, &status, 0);
    id_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t id_ = -1;
};

void wait_for(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000 && !condition(); ++i) std::this_thread::sleep_for(10ms);
  REQUIRE(condition());
}

bool has(const std::string& text, const std::string& piece) { return text.find(piece) != std::string::npos; }

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

TEST_CASE("pc-label comes through a server that misbehaves in every way") {
  const Setup setup(pairs_text(24));
  Judge judge([](const std::string& question, std::size_t times, Peer& peer) {
    const int number = std::stoi(question.substr(6));
    const std::string good = completion(verdict(question));
    if (times > 1 && number != 9 && number != 10) {
      peer.reply(200, good);
      return;
    }
    switch (number) {
      case 0: peer.reply(429, "{}", "Retry-After: 1\r\n"); break;
      case 1: peer.reply(500, "oops"); break;
      case 2: peer.reply(503, "<html>maintenance</html>"); break;
      case 3: peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + good.substr(0, 40)), peer.close(); break;
      case 4: peer.reply(200, good.substr(0, 50)); break;       // JSON that is cut
      case 5: peer.reply(200, "{\"answer\": \"yes\"}"); break;  // another schema
      case 6: peer.reply(200, "<html><body>Welcome</body></html>"); break;
      case 7: peer.close(); break;  // no reply at all
      case 8: peer.reply(200, ""); break;
      case 9: peer.reply(200, completion("It depends on what you mean.")); break;
      case 10: peer.reply(200, R"({"choices": [{"message": {"content": null, "refusal": "I cannot."}}]})"); break;
      case 11:  // a byte now and then
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while (peer.send(" ") && peer.wait(20ms)) {
        }
        peer.close();
        break;
      case 12:
        peer.wait(1h);
        peer.close();
        break;
      case 13:
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + std::string(3000000, 'x'));
        peer.close();
        break;
      case 14: peer.reply(200, completion("maybe")); break;  // and properly when asked once more
      default: peer.reply(200, good);
    }
  });
  const ToolResult result =
      setup.run(judge.url(), "--deadline 1 --parallel 8 --json " + setup.directory.file("f.json"));
  require_code(result, 0, {"22 pairs; 2 without a label", "1 unparsable, 1 refused, 0 rejected, 0 not asked"});
  const promptcache::PairFile file = setup.labelled();
  REQUIRE(file.pairs.size() == 22);
  for (const promptcache::Pair& pair : file.pairs) CHECK(pair.label == (verdict(pair.q2) == "no" ? 0 : 1));
  const std::string unanswered = read_file(setup.out + ".unanswered.tsv");
  CHECK(has(unanswered, "9\tfirst 9\tsecond 9\t0.109\tunparsable\tIt depends on what you mean.\n"));
  CHECK(has(unanswered, "10\tfirst 10\tsecond 10\t0.110\trefused\tI cannot.\n"));
  for (const auto& [question, times] : judge.asked()) {
    INFO(question);
    CHECK(times <= 2);
  }
}

TEST_CASE("pc-label killed in the middle loses only what was in flight") {
  const Setup setup(pairs_text(60));
  Judge judge([](const std::string& question, std::size_t, Peer& peer) {
    peer.wait(5ms);
    peer.reply(200, completion(verdict(question)));
  });
  const std::string command = setup.arguments(judge.url()) + "--parallel 4 --both-orders";
  std::string journal;
  for (std::size_t at : {std::size_t{20}, std::size_t{60}}) {
    Child child(command + " --resume", setup.directory.file("log"));
    wait_for([&] { return judge.requests() >= at; });
    CHECK(child.end(SIGKILL) == 128 + SIGKILL);
    const std::string now = setup.journal();
    CHECK(now.substr(0, journal.size()) == journal);  // nothing that was there is gone
    journal = now;
    CHECK_FALSE(std::filesystem::exists(setup.out));
  }
  // A torn line, as the kill itself rarely leaves.
  std::ofstream(setup.out + ".journal.jsonl", std::ios::app) << "{\"pair\":3,\"rev";
  require_code(run_tool(command + " --resume"), 0, {"torn", "60 of 60 pairs"});
  std::size_t twice = 0;
  const auto asked = judge.asked();
  CHECK(asked.size() == 120);
  for (const auto& [question, times] : asked) {
    CHECK(times <= 3);
    twice += times - 1;
  }
  CHECK(twice <= 2 * 4);  // two kills, four in flight at each

  const Setup whole(pairs_text(60));
  require_code(whole.run(judge.url(), "--both-orders"), 0, {});
  CHECK(read_file(whole.out) == read_file(setup.out));
}

TEST_CASE("pc-label stops on Ctrl-C, and says how to go on") {
  const Setup setup(pairs_text(200));
  Judge judge([](const std::string& question, std::size_t, Peer& peer) {
    peer.wait(20ms);
    peer.reply(200, completion(verdict(question)));
  });
  {
    Child child(setup.arguments(judge.url()), setup.directory.file("log"));
    wait_for([&] { return judge.requests() >= 8; });
    CHECK(child.end(SIGINT) == 130);
  }
  const std::string log = read_file(setup.directory.file("log"));
  INFO(log);
  CHECK(has(log, "requests in flight"));
  CHECK(has(log, "To go on:\n  "));
  CHECK(has(log, " --resume\n"));
  const std::string journal = setup.journal();
  const auto answers = static_cast<std::size_t>(std::count(journal.begin(), journal.end(), '\n')) - 1;
  CHECK(answers == judge.requests());  // those in flight were waited for
  require_code(setup.run(judge.url(), "--resume"), 0, {"200 of 200"});
  CHECK(judge.requests() == 200);
}

TEST_CASE("pc-label with a full disk keeps what it has") {
  const Setup setup(pairs_text(60));
  Judge judge;
  std::FILE* const pipe = ::popen(("exec 2>&1; ulimit -f 8; " + std::string(PROMPTCACHE_TEST_TOOLS) + "/" +
                                   setup.arguments(judge.url()) + "; echo code $?")
                                      .c_str(),
                                  "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  char block[4096];
  for (std::size_t got = 0; (got = std::fread(block, 1, sizeof(block), pipe)) > 0;) output.append(block, got);
  ::pclose(pipe);
  INFO(output);
  CHECK(has(output, "out.tsv.journal.jsonl: found File too large, wanted room"));
  CHECK(has(output, "code 1"));
  const std::string journal = setup.journal();
  CHECK(journal.size() > 2000);
  CHECK(journal.back() == '\n');
  const auto known = static_cast<std::size_t>(std::count(journal.begin(), journal.end(), '\n')) - 1;
  const std::size_t asked = judge.requests();
  CHECK(known < 60);
  CHECK(asked - known <= 4);
  require_code(setup.run(judge.url(), "--resume"), 0, {"60 of 60", std::to_string(known) + " from the journal"});
  CHECK(judge.requests() == asked + 60 - known);
}

TEST_CASE("pc-label stops at once when nothing will be answered") {
  struct Case {
    int status;
    std::string fields, piece;
  };
  for (const Case& each : {Case{401, "", "the key is refused: Incorrect API key provided: ***"},
                           Case{403, "", "the key is refused"}, Case{404, "", "no such address or model"},
                           Case{307, "Location: http://127.0.0.1:1/v1?key=" + std::string(secret) + "\r\n",
                                "redirected to 'http://127.0.0.1:1/v1?key=***'"}}) {
    const Setup setup;
    Judge judge([&](const std::string&, std::size_t, Peer& peer) {
      peer.reply(each.status, R"({"error": {"message": "Incorrect API key provided: )" + std::string(secret) + "\"}}",
                 each.fields);
    });
    ::setenv("TEST_KEY", secret, 1);
    const ToolResult result = setup.run(
        judge.url(), "--key-env TEST_KEY --parallel 1 --partial --json " + setup.directory.file("figures.json"));
    require_code(result, 1, {each.piece, "--resume"});
    CHECK(judge.requests() == 1);
    std::string everything = result.output;
    for (const auto& entry : std::filesystem::directory_iterator(setup.directory.path())) {
      everything += read_file(entry.path());
    }
    CHECK_FALSE(has(everything, secret));
    CHECK_FALSE(has(everything, "sk-never"));
  }
  // The endpoint is down.
  const Setup setup;
  require_code(setup.run("http://127.0.0.1:" + std::to_string(test::dead_port()), "--retries 1"), 1,
               {"cannot connect to http://127.0.0.1:", "(2 tries)", "To go on"});
  CHECK_FALSE(std::filesystem::exists(setup.out));
}

TEST_CASE("pc-label sends the key, and it comes out nowhere") {
  const Setup setup;
  std::atomic<int> with_key{0};
  LoopbackServer server([&](const WebRequest& request, Peer& peer) {
    if (has(request.head, "Authorization: Bearer " + std::string(secret) + "\r\n")) ++with_key;
    const std::string question = test::question_of(request);
    if (question.back() == '1') {
      peer.reply(400, "your key is " + std::string(secret));
    } else if (question.back() == '2' && with_key % 2 == 0) {
      peer.reply(500, std::string(190, '.') + secret);
    } else {
      peer.reply(200, completion(question.back() == '3' ? secret : "yes"));
    }
  });
  ::setenv("TEST_KEY", secret, 1);
  const ToolResult result =
      setup.run(server.url(), "--key-env TEST_KEY --retries 20 --parallel 1 --json " + setup.directory.file("f.json"));
  require_code(result, 0, {"2 unparsable, 0 refused, 2 rejected"});
  CHECK(with_key > 20);
  std::string everything = result.output;
  for (const auto& entry : std::filesystem::directory_iterator(setup.directory.path())) {
    everything += read_file(entry.path());
  }
  CHECK(has(everything, "your key is ***"));
  CHECK_FALSE(has(everything, "sk-never"));

  const Setup without;
  std::atomic<int> authorizations{0};
  LoopbackServer other([&](const WebRequest& request, Peer& peer) {
    if (has(request.head, "Authorization")) ++authorizations;
    peer.reply(200, completion("yes"));
  });
  require_code(without.run(other.url(), "--key-env TEST_KEY --no-key"), 0, {});
  CHECK(authorizations == 0);
}

TEST_CASE("pc-label over HTTPS") {
  const Setup setup;
  const test::Certificate certificate = test::Certificate::make();
  Judge judge({}, &certificate);
  ::unsetenv("OPENAI_API_KEY");
  require_code(setup.run(judge.url()), 2, {"OPENAI_API_KEY", "no key", "--key-env", "--no-key"});
  ::setenv("TEST_KEY", "two words", 1);
  require_code(setup.run(judge.url(), "--key-env TEST_KEY"), 2, {"white space"});
  CHECK_FALSE(std::filesystem::exists(setup.out + ".journal.jsonl"));
  require_code(setup.run(judge.url(), "--no-key"), 1, {"is not trusted", "--ca-file"});
  require_code(setup.run(judge.url(), "--no-key --resume --ca-file " + setup.directory.file("none")), 2, {"none"});
  const std::string ca = setup.directory.write("ca.pem", certificate.certificate);
  require_code(setup.run(judge.url(), "--no-key --resume --ca-file " + ca), 0, {"20 of 20"});
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
  require_code(setup.run(judge.url(), "--template " + setup.directory.write("t", "{q1}")), 2, {"t", "{q2}"});
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
