#include <stdexcept>
#include <thread>

#include "pairs/labelling_fixture.hpp"
#include "promptcache/base/file.hpp"

namespace {

using namespace test;
using namespace std::chrono_literals;

}  // namespace

TEST_CASE("a journal without --resume, in use, or of something else is refused") {
  Fixture f;
  const std::vector<Pair> pairs = numbered_pairs(5);
  f.run(pairs);
  const std::string before = read_file(f.options.journal);
  test::require_error(ErrorCode::usage, {"journal.jsonl", "earlier run", "--resume"}, [&] { f.run(pairs); });
  f.options.resume = true;
  test::require_error(ErrorCode::mismatch, {"other pairs"}, [&] { f.run(numbered_pairs(6)); });
  f.options.model = "teacher-2";
  test::require_error(ErrorCode::mismatch, {"teacher-1", "teacher-2"}, [&] { f.run(pairs); });
  f.options.model = "teacher-1";
  f.options.temperature = 0.5;
  test::require_error(ErrorCode::mismatch, {"temperature"}, [&] { f.run(pairs); });
  f.options.temperature = 0;
  test::require_error(ErrorCode::mismatch, {"prompt_version", "same-response"}, [&] {
    label_pairs(pairs, LabelPrompt::builtin(AnswerForm::yes_no), f.recorder.teacher(), f.options);
  });
  CHECK(read_file(f.options.journal) == before);
  CHECK(f.recorder.total() == 5);

  f.options.journal = f.directory.write("mine.txt", "a file of mine");
  test::require_error(ErrorCode::format, {"mine.txt", "no journal"}, [&] { f.run(pairs); });
  CHECK(read_file(f.options.journal) == "a file of mine");
  f.options.journal = f.directory.write("lines.txt", "{\"a\": 1}\n{}\n");
  test::require_error(ErrorCode::format, {"lines.txt:1", "no journal"}, [&] { f.run(pairs); });
  f.options.journal = f.directory.path();
  test::require_error(ErrorCode::access, {f.directory.path()}, [&] { f.run(pairs); });
  f.options.journal = f.directory.file("no/such/place");
  test::require_error(ErrorCode::not_found, {"no/such/place"}, [&] { f.run(pairs); });
  f.options.journal.clear();
  test::require_error(ErrorCode::usage, {"journal"}, [&] { f.run(pairs); });

  f.options.journal = f.directory.file("busy.jsonl");
  std::string busy;
  f.recorder.behave = [&](const std::string&, std::size_t) {
    try {
      label_pairs(
          pairs, plain_prompt(), [](const std::string&) { return TeacherReply{}; }, f.options);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::busy) busy = error.what();
    }
    return TeacherReply{.text = "1"};
  };
  f.options.parallel = 1;
  f.run(pairs);
  CHECK(busy.find("another process") != std::string::npos);
}

TEST_CASE("a journal cut anywhere is gone on from; a line broken in the middle is not") {
  const std::vector<Pair> pairs = numbered_pairs(6);
  Fixture whole;
  whole.options.parallel = 1;
  const LabelResult expected = whole.run(pairs);
  const std::string journal = read_file(whole.options.journal);
  Fixture f;
  f.options.resume = true;
  f.options.parallel = 1;
  for (std::size_t size = 0; size <= journal.size(); ++size) {
    const bool at_line = journal.find('\n', size == 0 ? 0 : size - 1) <= size;  // every place there, some elsewhere
    if (!at_line && size % 17 != 0) continue;
    std::ofstream(f.options.journal, std::ios::binary | std::ios::trunc) << journal.substr(0, size);
    const std::size_t kept = static_cast<std::size_t>(
        std::count(journal.begin(), journal.begin() + static_cast<std::ptrdiff_t>(size), '\n'));
    const std::size_t asked_before = f.recorder.total();
    const LabelResult result = f.run(pairs);
    REQUIRE(f.recorder.total() - asked_before == 6 - (kept == 0 ? 0 : kept - 1));
    REQUIRE(same(result.labels, expected.labels));
    REQUIRE(read_file(f.options.journal) == journal);
  }
  // Lost blocks at the end, as after a loss of power.
  const std::size_t last = journal.rfind('\n', journal.size() - 2) + 1;
  std::ofstream(f.options.journal, std::ios::binary) << journal.substr(0, last) << std::string(80, '\0') << "\n";
  CHECK(same(f.run(pairs).labels, expected.labels));
  CHECK(read_file(f.options.journal) == journal);

  std::string broken = journal;
  broken[journal.find('\n') + 1] = '[';
  std::ofstream(f.options.journal, std::ios::binary) << broken;
  test::require_error(ErrorCode::format, {"journal.jsonl:2"}, [&] { f.run(pairs); });
  for (const auto& [old, fresh] :
       std::vector<std::pair<std::string, std::string>>{{"\"pair\":0", "\"pair\":99"},
                                                        {"\"pair\":0", "\"pair\":-1"},
                                                        {"\"state\":\"answered\"", "\"state\":\"x\""},
                                                        {"\"value\":", "\"value\":7"}}) {
    broken = journal;
    broken.replace(broken.find(old), old.size(), fresh);
    std::ofstream(f.options.journal, std::ios::binary) << broken;
    INFO(fresh);
    test::require_error(ErrorCode::format, {"journal.jsonl"}, [&] { f.run(pairs); });
  }
}

TEST_CASE("an answer that cannot be read is asked for once more, then counted, never guessed") {
  Fixture f;
  f.recorder.behave = [](const std::string& question, std::size_t times) {
    if (question == "first 0|second 0") return TeacherReply{.text = "I would say 80 percent"};
    if (question == "first 1|second 1" && times == 1) return TeacherReply{.text = "eighty"};
    if (question == "first 2|second 2") return reply_of(Outcome::refused, "I will\nnot");
    if (question == "first 3|second 3") return reply_of(Outcome::rejected, "too long");
    return TeacherReply{.text = "80"};
  };
  f.options.parallel = 1;
  const std::vector<Pair> pairs = numbered_pairs(6);
  LabelResult result = f.run(pairs);
  CHECK(result.end == LabelEnd::complete);
  CHECK(result.labels[0].state == State::unparsable);
  CHECK(result.labels[0].reason == "I would say 80 percent");
  CHECK(std::isnan(result.labels[0].label));
  CHECK(result.labels[1].label == 0.8);
  CHECK(result.labels[2].state == State::refused);
  CHECK(result.labels[2].reason == "I will not");
  CHECK(result.labels[3].state == State::rejected);
  CHECK(result.requests == 8);
  CHECK(result.retries == 2);
  auto asked = f.recorder.asked();
  CHECK(asked["first 0|second 0"] == 2);
  CHECK(asked["first 2|second 2"] == 1);
  CHECK(asked["first 3|second 3"] == 1);
  // None of these is asked again by resuming, unless that is wanted.
  f.options.resume = true;
  CHECK(f.run(pairs).requests == 0);
  f.recorder.behave = nullptr;
  f.options.ask_again = true;
  result = f.run(pairs);
  CHECK(result.requests == 3);
  CHECK(result.resumed == 3);
  for (const PairLabel& label : result.labels) CHECK(label.state == State::answered);
  f.options.ask_again = false;
  CHECK(same(f.run(pairs).labels, result.labels));
  // With both orders, one of which has no answer, there is no label.
  Fixture g;
  g.options.both_orders = true;
  g.recorder.behave = [](const std::string& question, std::size_t) {
    return question == "second 0|first 0" ? reply_of(Outcome::refused, "no") : TeacherReply{.text = "80"};
  };
  result = g.run(numbered_pairs(2));
  CHECK(result.labels[0].state == State::refused);
  CHECK(result.labels[0].forward == 0.8);
  CHECK(std::isnan(result.labels[0].label));
  CHECK(result.labels[1].label == 0.8);
}

TEST_CASE("a teacher that is out of reach now and then is asked again") {
  Fixture f;
  f.recorder.behave = [](const std::string& question, std::size_t times) {
    if (std::hash<std::string>()(question) % 2 == 0 && times <= 3) return reply_of(Outcome::unavailable, "HTTP 500");
    return TeacherReply{.text = verdict(question)};
  };
  const LabelResult result = f.run(numbered_pairs(40));
  CHECK(result.end == LabelEnd::complete);
  CHECK(result.retries > 0);
  CHECK(result.requests == 40 + result.retries);
  CHECK(result.asked == 40);
}

TEST_CASE("a teacher that is not there ends the run at the first question given up") {
  Fixture f;
  f.options.retries = 2;
  f.options.parallel = 1;
  f.recorder.behave = [](const std::string&, std::size_t) { return reply_of(Outcome::unavailable, "cannot connect"); };
  const std::vector<Pair> pairs = numbered_pairs(100);
  LabelResult result = f.run(pairs);
  CHECK(result.end == LabelEnd::failed);
  CHECK(result.why == "cannot connect (3 tries)");
  CHECK(f.recorder.total() == 3);
  CHECK(result.labels[0].state == State::unasked);
  CHECK(f.journal_lines().size() == 1);
  // One that goes away in between: after five in a row.
  f.options.resume = true;
  f.recorder.behave = [&](const std::string& question, std::size_t) {
    if (question.substr(0, 7) == "first 3") return reply_of(Outcome::unavailable, "gone");
    return TeacherReply{.text = "1"};
  };
  std::size_t warnings = 0;
  f.callbacks.log = [&](LogLevel level, std::string_view) { warnings += level == LogLevel::warning ? 1 : 0; };
  result = f.run(pairs);
  CHECK(result.end == LabelEnd::failed);
  CHECK(result.why == "gone (3 tries)");
  CHECK(result.asked == 29);  // 0 to 2 and 4 to 29, then 30 to 34 fail
  CHECK(result.failed == 1 + 5);
  CHECK(warnings == 5);
  // Those that failed one by one do not end it, but it is not complete.
  f.options.parallel = 2;
  f.recorder.behave = [&](const std::string& question, std::size_t) {
    if (question == "first 3|second 3") return reply_of(Outcome::unavailable, "gone");
    return TeacherReply{.text = "1"};
  };
  result = f.run(pairs);
  CHECK(result.end == LabelEnd::failed);
  CHECK(result.why == "1 of 100 questions could not be asked, the last one: gone");
  CHECK(result.resumed + result.asked == 99);
}

TEST_CASE("a hopeless reply ends the run at once") {
  Fixture f;
  f.options.parallel = 1;
  f.recorder.behave = [](const std::string& question, std::size_t) {
    return question[6] == '4' ? reply_of(Outcome::hopeless, "HTTP 401, the key is refused") : TeacherReply{.text = "1"};
  };
  const LabelResult result = f.run(numbered_pairs(100));
  CHECK(result.end == LabelEnd::failed);
  CHECK(result.why == "HTTP 401, the key is refused");
  CHECK(f.recorder.total() == 5);
  CHECK(f.journal_lines().size() == 1 + 4);
}

TEST_CASE("when every question is rejected it is the request that is wrong") {
  Fixture f;
  f.options.parallel = 1;
  f.recorder.behave = [](const std::string&, std::size_t) { return reply_of(Outcome::rejected, "HTTP 400: what?"); };
  const std::vector<Pair> pairs = numbered_pairs(50);
  LabelResult result = f.run(pairs);
  CHECK(result.end == LabelEnd::failed);
  CHECK(result.why == "every request is rejected: HTTP 400: what?");
  CHECK(f.recorder.total() == 3);
  CHECK(f.journal_lines().size() == 1);  // to be asked again when it is put right
  Fixture two;
  two.recorder.behave = f.recorder.behave;
  CHECK(two.run(numbered_pairs(2)).why == "every request is rejected: HTTP 400: what?");
  // The first two questions alone are too long: all is well, and they are known from then on.
  f.options.resume = true;
  f.recorder.behave = [](const std::string& question, std::size_t) {
    return question[6] < '2' && question[7] == '|' ? reply_of(Outcome::rejected, "too long")
                                                   : TeacherReply{.text = "1"};
  };
  result = f.run(pairs);
  CHECK(result.end == LabelEnd::complete);
  CHECK(result.labels[1].state == State::rejected);
  CHECK(f.journal_lines().size() == 51);
}

TEST_CASE("a teacher that changes how it asks does not use up retries, but must come to an end") {
  Fixture f;
  f.options.retries = 0;
  f.recorder.behave = [](const std::string&, std::size_t times) {
    return times <= 3 ? reply_of(Outcome::again, "") : TeacherReply{.text = "1"};
  };
  CHECK(f.run(numbered_pairs(3)).end == LabelEnd::complete);
  Fixture g;
  g.recorder.behave = [](const std::string&, std::size_t) { return reply_of(Outcome::again, ""); };
  test::require_error(ErrorCode::io, {"again"}, [&] { g.run(numbered_pairs(3)); });
}

TEST_CASE("what a teacher or a callback throws passes through, and the journal stays good") {
  Fixture f;
  const std::vector<Pair> pairs = numbered_pairs(30);
  f.recorder.behave = [](const std::string& question, std::size_t) -> TeacherReply {
    if (question.substr(0, 8) == "first 20") throw std::runtime_error("broken teacher");
    return {.text = "1"};
  };
  CHECK_THROWS_WITH(f.run(pairs), "broken teacher");
  f.options.resume = true;
  f.recorder.behave = [](const std::string&, std::size_t) {
    std::this_thread::sleep_for(1ms);
    return TeacherReply{.text = "1"};
  };
  f.callbacks.progress = [](const Progress& progress) {
    if (progress.done > 21) throw std::runtime_error("broken progress");
  };
  CHECK_THROWS_WITH(f.run(pairs), "broken progress");
  f.callbacks.progress = nullptr;
  CHECK(f.run(pairs).end == LabelEnd::complete);
  CHECK(f.journal_lines().size() == 31);
}
