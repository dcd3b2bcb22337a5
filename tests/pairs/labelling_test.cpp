#include <atomic>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "pairs/labelling_fixture.hpp"

namespace {

using namespace test;
using namespace std::chrono_literals;

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
