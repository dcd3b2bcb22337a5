#include "promptcache/policy/judge.hpp"

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "promptcache/base/error.hpp"
#include "support.hpp"

using namespace promptcache;

namespace {

/// Texts beginning with the same letter are the same; "?" is nothing the encoder knows.
class FirstLetter : public Embedder {
 public:
  std::size_t dimension() const override { return 2; }
  Digest identity() const override { return sha256("first letter"); }
  EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    EmbedReport report;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const bool a = !texts[i].empty() && texts[i][0] == 'a';
      out[2 * i] = a ? 1.0F : 0.0F;
      out[2 * i + 1] = a ? 0.0F : 1.0F;
      if (texts[i] == "?") report.unrepresented.push_back(i);
    }
    return report;
  }
};

}  // namespace

TEST_CASE("judges compare responses") {
  const EqualityJudge equality;
  CHECK(ask(equality, "", " Yes,  it is.\n", "yes, it is.") == Verdict::right);
  CHECK(ask(equality, "", "yes", "yes it is") == Verdict::wrong);
  CHECK(ask(equality, "", "", " ") == Verdict::right);

  const EmbeddingJudge embedding(std::make_shared<FirstLetter>(), 0.9);
  CHECK(ask(embedding, "", "a b", "a c") == Verdict::right);
  CHECK(ask(embedding, "", "a b", "b c") == Verdict::wrong);
  CHECK(ask(embedding, "", "?", "a") == Verdict::missing);
  CHECK(ask(embedding, "", "?", "?") == Verdict::right);

  const CallbackJudge callback([](std::string_view prompt, std::string_view, std::string_view) -> std::optional<bool> {
    if (prompt == "unknown") return std::nullopt;
    if (prompt == "throw") throw std::runtime_error("no");
    if (prompt == "throw a number") throw 7;
    return prompt == "yes";
  });
  CHECK(ask(callback, "yes", "", "") == Verdict::right);
  CHECK(ask(callback, "no", "", "") == Verdict::wrong);
  CHECK(ask(callback, "unknown", "", "") == Verdict::missing);
  CHECK(ask(callback, "throw", "", "") == Verdict::missing);
  CHECK(ask(callback, "throw a number", "", "") == Verdict::missing);

  test::require_error(ErrorCode::usage, {"no embedder"}, [] { EmbeddingJudge(nullptr, 0.5); });
  test::require_error(ErrorCode::usage, {"threshold", "1.5"},
                      [] { EmbeddingJudge(std::make_shared<FirstLetter>(), 1.5); });
  test::require_error(ErrorCode::usage, {"empty function"}, [] { CallbackJudge(nullptr); });
}

TEST_CASE("a judge that hangs gives no verdict, and is asked no more while too many questions hang") {
  std::mutex mutex;
  std::condition_variable changed;
  bool free = false;
  int asked = 0, left = 0;
  const auto hanging =
      std::make_shared<CallbackJudge>([&](std::string_view prompt, std::string_view, std::string_view) {
        if (prompt == "throw") throw std::runtime_error("no");
        std::unique_lock lock(mutex);
        ++asked;
        if (prompt == "hang") changed.wait(lock, [&] { return free; });
        ++left;
        changed.notify_all();
        return std::optional(true);
      });
  const TimedJudge judge(hanging, std::chrono::milliseconds(50), 2);
  CHECK(ask(judge, "throw", "", "") == Verdict::missing);
  CHECK(ask(judge, "hang", "", "") == Verdict::missing);
  CHECK(ask(judge, "hang", "", "") == Verdict::missing);
  CHECK(ask(judge, "quick", "", "") == Verdict::missing);  // two hang: not asked
  {
    std::unique_lock lock(mutex);
    CHECK(asked == 2);
    free = true;
    changed.notify_all();
    changed.wait(lock, [&] { return left == 2; });
  }
  const TimedJudge patient(hanging, std::chrono::milliseconds(60000), 2);
  CHECK(ask(patient, "quick", "", "") == Verdict::right);
  test::require_error(ErrorCode::usage, {"no judge"}, [] { TimedJudge(nullptr, std::chrono::milliseconds(1)); });
  test::require_error(ErrorCode::usage, {"0 ms"}, [&] { TimedJudge(hanging, std::chrono::milliseconds(0)); });
}
