#include "promptcache/pairs/labelling.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "promptcache/base/file.hpp"
#include "support.hpp"

namespace {

using namespace promptcache;
using namespace std::chrono_literals;
using Outcome = TeacherReply::Outcome;
using State = PairLabel::State;

std::vector<Pair> numbered_pairs(int count) {
  std::vector<Pair> pairs;
  for (int i = 0; i < count; ++i) {
    Pair pair;
    pair.q1 = "first " + std::to_string(i);
    pair.q2 = "second " + std::to_string(i);
    pairs.push_back(pair);
  }
  return pairs;
}

const LabelPrompt& plain_prompt() {
  static const LabelPrompt prompt = LabelPrompt::from_text("{q1}|{q2}", AnswerForm::percent, "test");
  return prompt;
}

/// The answer that depends on the question alone: a percentage.
std::string verdict(const std::string& question) { return std::to_string(std::hash<std::string>()(question) % 101); }
double value(const std::string& question) { return std::stod(verdict(question)) / 100; }

/// Counts what it is asked; answers by `verdict` unless told otherwise.
class Recorder {
 public:
  std::function<TeacherReply(const std::string&, std::size_t times)> behave;

  Teacher teacher() {
    return [this](const std::string& question) {
      std::size_t times = 0;
      {
        const std::lock_guard lock(mutex_);
        times = ++asked_[question];
        ++total_;
      }
      if (behave) return behave(question, times);
      return TeacherReply{.text = verdict(question)};
    };
  }
  std::map<std::string, std::size_t> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  std::size_t total() {
    const std::lock_guard lock(mutex_);
    return total_;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::size_t> asked_;
  std::size_t total_ = 0;
};

struct Fixture {
  test::TemporaryDirectory directory;
  LabelOptions options;
  Recorder recorder;
  LabelCallbacks callbacks;

  Fixture() {
    options.journal = directory.file("journal.jsonl");
    options.model = "teacher-1";
    options.first_delay = 1ms;
  }
  LabelResult run(const std::vector<Pair>& pairs) {
    return label_pairs(pairs, plain_prompt(), recorder.teacher(), options, callbacks);
  }
  std::vector<std::string> journal_lines() const {
    std::vector<std::string> lines;
    std::ifstream in(options.journal);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
};

TeacherReply reply_of(Outcome outcome, const std::string& text) { return {.outcome = outcome, .text = text}; }

bool same(const std::vector<PairLabel>& a, const std::vector<PairLabel>& b) {
  const auto equal = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const PairLabel& x, const PairLabel& y) {
    return x.state == y.state && equal(x.label, y.label) && equal(x.forward, y.forward) &&
           equal(x.reverse, y.reverse) && x.reason == y.reason;
  });
}

}  // namespace

TEST_CASE("labels every pair, and says what it took") {
  Fixture f;
  const std::vector<Pair> pairs = numbered_pairs(50);
  f.recorder.behave = [](const std::string& question, std::size_t) {
    return TeacherReply{.text = verdict(question), .model = "m", .prompt_tokens = 10, .answer_tokens = 1};
  };
  std::size_t last_done = 0;
  f.callbacks.progress = [&](const Progress& progress) {
    CHECK(progress.total == 50);
    CHECK(progress.done >= last_done);
    last_done = progress.done;
  };
  const LabelResult result = f.run(pairs);
  CHECK(result.end == LabelEnd::complete);
  CHECK(last_done == 50);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    CHECK(result.labels[i].state == State::answered);
    CHECK(result.labels[i].label == value(pairs[i].q1 + "|" + pairs[i].q2));
    CHECK(std::isnan(result.labels[i].reverse));
  }
  CHECK(result.questions == 50);
  CHECK(result.asked == 50);
  CHECK(result.requests == 50);
  CHECK(result.retries == 0);
  CHECK(result.prompt_tokens == 500);
  CHECK(result.answer_tokens == 50);
  CHECK(result.estimated == 0);
  const std::vector<std::string> lines = f.journal_lines();
  CHECK(lines.size() == 51);
  const auto line = nlohmann::json::parse(lines.at(1));
  CHECK(line["prompt_version"] == plain_prompt().version());
  CHECK(line["model"] == "m");
}

TEST_CASE("both orders: the mean, and how often they disagree") {
  Fixture f;
  f.options.both_orders = true;
  std::vector<Pair> pairs = numbered_pairs(40);
  const LabelResult result = f.run(pairs);
  std::size_t disagreements = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const double forward = value(pairs[i].q1 + "|" + pairs[i].q2), reverse = value(pairs[i].q2 + "|" + pairs[i].q1);
    CHECK(result.labels[i].forward == forward);
    CHECK(result.labels[i].reverse == reverse);
    CHECK(result.labels[i].label == Approx((forward + reverse) / 2));
    if ((forward >= 0.5) != (reverse >= 0.5)) ++disagreements;
  }
  CHECK(disagreements > 0);
  CHECK(result.disagreements == disagreements);
  CHECK(f.recorder.total() == 80);
}

TEST_CASE("equal pairs are asked once, also across orders") {
  Fixture f;
  std::vector<Pair> pairs = numbered_pairs(10);
  pairs.push_back(pairs[3]);
  pairs.push_back(pairs[4]);
  std::swap(pairs.back().q1, pairs.back().q2);
  CHECK(f.run(pairs).questions == 11);
  CHECK(f.recorder.total() == 11);
  f.options.both_orders = true;
  f.options.resume = true;
  const LabelResult result = f.run(pairs);
  CHECK(result.questions == 20);
  CHECK(result.resumed == 11);
  CHECK(f.recorder.total() == 20);
  CHECK(result.labels[10].label == result.labels[3].label);
  CHECK(result.labels[11].forward == result.labels[4].reverse);
  // Texts that run together the same way are different questions.
  Fixture g;
  std::vector<Pair> tricky = numbered_pairs(2);
  tricky[0].q1 = "a", tricky[0].q2 = "bc", tricky[1].q1 = "ab", tricky[1].q2 = "c";
  CHECK(g.run(tricky).questions == 2);
}

TEST_CASE("a run that was stopped goes on where it was, and ends as if it had not been") {
  const std::vector<Pair> pairs = numbered_pairs(60);
  Fixture whole;
  whole.options.both_orders = true;
  const LabelResult expected = whole.run(pairs);

  Fixture f;
  f.options.both_orders = true;
  std::atomic<std::size_t> served{0};
  f.recorder.behave = [&](const std::string& question, std::size_t) {
    ++served;
    std::this_thread::sleep_for(1ms);
    return TeacherReply{.text = verdict(question)};
  };
  LabelResult result;
  int calls = 0;
  do {
    f.options.resume = calls++ > 0;
    const std::size_t before = served;
    f.callbacks.stop = [&] { return served >= before + 9; };
    result = f.run(pairs);
    CHECK((result.end == LabelEnd::interrupted || result.end == LabelEnd::complete));
    CHECK(f.journal_lines().size() == 1 + served);
  } while (result.end != LabelEnd::complete);
  CHECK(calls > 1);
  CHECK(same(result.labels, expected.labels));
  CHECK(result.disagreements == expected.disagreements);
  for (const auto& [question, times] : f.recorder.asked()) CHECK(times == 1);
  // Once more: nothing is left to do.
  CHECK(f.run(pairs).requests == 0);
}

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

TEST_CASE("a teacher that asks for a pause gets it, from every thread") {
  Fixture f;
  f.options.parallel = 4;
  std::mutex mutex;
  std::optional<std::chrono::steady_clock::time_point> told;
  std::vector<std::chrono::steady_clock::duration> since;
  f.recorder.behave = [&](const std::string&, std::size_t) {
    const std::lock_guard lock(mutex);
    TeacherReply reply{.text = "1"};
    if (told) since.push_back(std::chrono::steady_clock::now() - *told);
    if (!told && f.recorder.total() >= 10) {
      reply = reply_of(Outcome::unavailable, "HTTP 429");
      reply.retry_after = 300ms;
      told = std::chrono::steady_clock::now();
    }
    return reply;
  };
  const LabelResult result = f.run(numbered_pairs(60));
  CHECK(result.end == LabelEnd::complete);
  std::size_t early = 0;
  for (const auto& time : since) early += time < 299ms ? 1 : 0;
  CHECK(early <= 12);  // those that were on their way
  CHECK(since.size() >= 30);
  // One that asks for too long a pause ends the run.
  Fixture g;
  g.recorder.behave = [](const std::string&, std::size_t) {
    TeacherReply reply = reply_of(Outcome::unavailable, "HTTP 429");
    reply.retry_after = 3600s;
    return reply;
  };
  CHECK(g.run(numbered_pairs(3)).why.find("3600 s") != std::string::npos);
}

TEST_CASE("neither budget is ever exceeded, and what is left of it is used") {
  const std::vector<Pair> pairs = numbered_pairs(100);
  Fixture f;
  f.options.budget_requests = 30;
  f.recorder.behave = [](const std::string& question, std::size_t times) {
    if (times == 1 && question.back() == '7') return reply_of(Outcome::unavailable, "HTTP 500");
    return TeacherReply{.text = "1", .model = "", .prompt_tokens = 15, .answer_tokens = 2};
  };
  LabelResult result = f.run(pairs);
  CHECK(result.end == LabelEnd::out_of_budget);
  CHECK(result.requests == 30);
  CHECK(f.recorder.total() == 30);
  f.options.resume = true;
  f.options.budget_requests = 0;
  f.options.budget_tokens = 500;
  result = f.run(pairs);
  CHECK(result.end == LabelEnd::out_of_budget);
  CHECK(result.prompt_tokens + result.answer_tokens <= 500);
  CHECK(result.prompt_tokens + result.answer_tokens > 500 - 2 * 17 - 8);
  f.options.budget_tokens = 5;  // not enough for one
  result = f.run(pairs);
  CHECK(result.end == LabelEnd::out_of_budget);
  CHECK(result.requests == 0);
  // Tokens that the teacher does not state are estimated: 17 bytes and 8 around them, and the answer.
  f.options.budget_tokens = 0;
  f.recorder.behave = nullptr;
  result = f.run(pairs);
  CHECK(result.end == LabelEnd::complete);
  CHECK(result.estimated == result.asked);
  CHECK(result.prompt_tokens >= 12 * result.asked);
}

TEST_CASE("requests are no denser than the rate, nor more than asked for at once") {
  Fixture f;
  f.options.requests_per_minute = 6000;  // one in 10 ms
  f.options.parallel = 8;
  std::mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> times;
  std::size_t flying = 0, most = 0;
  f.recorder.behave = [&](const std::string&, std::size_t) {
    {
      const std::lock_guard lock(mutex);
      times.push_back(std::chrono::steady_clock::now());
      most = std::max(most, ++flying);
    }
    std::this_thread::sleep_for(5ms);
    const std::lock_guard lock(mutex);
    --flying;
    return TeacherReply{.text = "1"};
  };
  const auto begin = std::chrono::steady_clock::now();
  f.run(numbered_pairs(30));
  CHECK(times.back() - begin >= 290ms);  // 29 intervals
  CHECK(most <= 8);
  Fixture g;
  g.options.parallel = 3;
  g.recorder.behave = f.recorder.behave;
  most = 0;
  g.run(numbered_pairs(30));
  CHECK(most <= 3);
  CHECK(most >= 1);
  for (std::size_t parallel : {std::size_t{0}, std::size_t{5000}}) {
    g.options.parallel = parallel;
    test::require_error(ErrorCode::usage, {"parallel"}, [&] { g.run(numbered_pairs(1)); });
  }
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

TEST_CASE("a plan says what a run would do") {
  Fixture f;
  std::vector<Pair> pairs = numbered_pairs(20);
  pairs.push_back(pairs[0]);
  LabelPlan plan = plan_labels(pairs, plain_prompt(), f.options);
  CHECK(plan.questions == 20);
  CHECK(plan.requests == 20);
  CHECK(plan.example == "first 0|second 0");
  CHECK(plan.prompt_tokens == 10 * (4 + 8) + 10 * (5 + 8));  // 16 bytes, then 18
  CHECK(plan.answer_tokens == 20 * 8);
  CHECK_FALSE(std::filesystem::exists(f.options.journal));
  f.options.budget_requests = 7;
  f.run(pairs);
  f.options.resume = true;
  f.options.both_orders = true;
  plan = plan_labels(pairs, plain_prompt(), f.options);
  CHECK(plan.questions == 40);
  CHECK(plan.resumed == 7);
  CHECK(plan.requests == 33);
  pairs.pop_back();
  test::require_error(ErrorCode::mismatch, {"other pairs"}, [&] { plan_labels(pairs, plain_prompt(), f.options); });
}

TEST_CASE("pair files without labels") {
  const test::TemporaryDirectory directory;
  const auto read = [&](const std::string& content) {
    return read_pair_file(directory.write("p", content), PairLabels::optional);
  };
  const PairFile none = read("q1\tq2\tsimilarity\na\tb\t0.9\n");
  CHECK(std::isnan(none.pairs.at(0).label));
  CHECK(none.columns.size() == 3);
  const PairFile some = read("q1\tq2\tlabel\na\tb\t\nc\td\t1\n");
  CHECK(std::isnan(some.pairs.at(0).label));
  CHECK(some.pairs.at(1).label == 1);
  const PairFile json = read(
      "{\"q1\": \"a\", \"q2\": \"b\", \"label\": null}\n{\"q1\": \"c\", \"q2\": \"d\", \"label\": 0.5}\n"
      "{\"q1\": \"e\", \"q2\": \"f\"}\n");
  CHECK(std::isnan(json.pairs.at(0).label));
  CHECK(json.rows.at(0).at(json.column("label")).empty());
  CHECK(json.pairs.at(1).label == 0.5);
  CHECK(std::isnan(json.pairs.at(2).label));
  test::require_error(ErrorCode::format, {":2", "maybe"}, [&] { read("q1\tq2\tlabel\na\tb\tmaybe\n"); });
  test::require_error(ErrorCode::format, {":1", "yes"},
                      [&] { read("{\"q1\": \"a\", \"q2\": \"b\", \"label\": \"yes\"}"); });
  test::require_error(ErrorCode::format, {"'q2'"}, [&] { read("q1\tlabel\na\t1\n"); });
  test::require_error(ErrorCode::format, {"label"}, [&] { read_pair_file(directory.write("q", "q1\tq2\na\tb\n")); });
}
