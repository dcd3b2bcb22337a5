#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tools/label_setup.hpp"

namespace {

using namespace test;
using namespace std::chrono_literals;
using promptcache::read_file;

constexpr const char* secret = "sk-never-to-be-seen-0123456789";

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

}  // namespace

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
  CHECK(has(output, "out.tsv.journal.jsonl: found 'File too large', wanted room"));
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
