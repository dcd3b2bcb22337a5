#include "promptcache/policy/judge.hpp"

#include <cmath>
#include <future>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Letters in lower case, runs of white space as one space, none at the ends.
std::string normalized(std::string_view text) {
  std::string result;
  bool gap = false;
  for (const char c : text) {
    if (is_space(c)) {
      gap = !result.empty();
      continue;
    }
    if (gap) result += ' ';
    gap = false;
    result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return result;
}

void require(bool good, const char* place, const std::string& found, const char* wanted) {
  if (!good) throw Error(ErrorCode::usage, {place}, found, wanted);
}

}  // namespace

Verdict ask(const Judge& judge, std::string_view prompt, std::string_view stored, std::string_view fresh) noexcept {
  try {
    const std::optional<bool> same = judge.same(prompt, stored, fresh);
    if (!same) return Verdict::missing;
    return *same ? Verdict::right : Verdict::wrong;
  } catch (...) {
    return Verdict::missing;
  }
}

std::optional<bool> EqualityJudge::same(std::string_view, std::string_view stored, std::string_view fresh) const {
  return normalized(stored) == normalized(fresh);
}

EmbeddingJudge::EmbeddingJudge(std::shared_ptr<const Embedder> embedder, double threshold)
    : embedder_(std::move(embedder)), threshold_(threshold) {
  require(embedder_ != nullptr, "EmbeddingJudge", "no embedder", "an embedder");
  require(threshold >= -1 && threshold <= 1, "threshold", std::to_string(threshold), "a number in [-1, 1]");
}

std::optional<bool> EmbeddingJudge::same(std::string_view, std::string_view stored, std::string_view fresh) const {
  if (stored == fresh) return true;
  const std::size_t width = embedder_->dimension();
  std::vector<float> vectors(2 * width);
  const std::string_view texts[] = {stored, fresh};
  if (!embedder_->embed(texts, vectors).unrepresented.empty()) return std::nullopt;
  const double similarity = std::inner_product(vectors.data(), vectors.data() + width, vectors.data() + width, 0.0);
  if (std::isnan(similarity)) return std::nullopt;
  return similarity >= threshold_;
}

CallbackJudge::CallbackJudge(Function function) : function_(std::move(function)) {
  require(static_cast<bool>(function_), "CallbackJudge", "an empty function", "a function");
}

std::optional<bool> CallbackJudge::same(std::string_view prompt, std::string_view stored,
                                        std::string_view fresh) const {
  return function_(prompt, stored, fresh);
}

TimedJudge::TimedJudge(std::shared_ptr<const Judge> judge, std::chrono::milliseconds limit, std::size_t max_stuck)
    : judge_(std::move(judge)),
      limit_(limit),
      max_stuck_(max_stuck),
      running_(std::make_shared<std::atomic<std::size_t>>(0)) {
  require(judge_ != nullptr, "TimedJudge", "no judge", "a judge");
  require(limit.count() > 0, "limit", std::to_string(limit.count()) + " ms", "a time above 0");
  require(max_stuck > 0, "max_stuck", "0", "at least 1");
}

std::optional<bool> TimedJudge::same(std::string_view prompt, std::string_view stored, std::string_view fresh) const {
  if (running_->fetch_add(1) >= max_stuck_) {
    running_->fetch_sub(1);
    return std::nullopt;
  }
  std::packaged_task<std::optional<bool>()> task([judge = judge_, a = std::string(prompt), b = std::string(stored),
                                                  c = std::string(fresh)] { return judge->same(a, b, c); });
  std::future<std::optional<bool>> answer = task.get_future();
  try {
    std::thread([task = std::move(task), running = running_]() mutable {
      task();
      running->fetch_sub(1);
    }).detach();
  } catch (...) {  // no thread to be had
    running_->fetch_sub(1);
    throw;
  }
  if (answer.wait_for(limit_) != std::future_status::ready) return std::nullopt;
  return answer.get();
}

}  // namespace promptcache
