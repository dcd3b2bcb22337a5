#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "promptcache/embed/embedder.hpp"
#include "promptcache/policy/cache_policy.hpp"

namespace promptcache {

/// Says whether a stored response would have served a prompt as well as the one that was computed for it. Every bound
/// of a `VerifiedPolicy` is about wrong in the eyes of its judge. `const` and safe from many threads.
class Judge {
 public:
  virtual ~Judge() = default;

  /// Empty where it cannot tell. May throw, and may take as long as it likes: see `ask` and `TimedJudge`.
  virtual std::optional<bool> same(std::string_view prompt, std::string_view stored, std::string_view fresh) const = 0;
};

/// The judge's verdict; missing when it cannot tell or throws.
Verdict ask(const Judge& judge, std::string_view prompt, std::string_view stored, std::string_view fresh) noexcept;

/// The same text but for the case of ASCII letters and the amount of white space: for classifications, extractions and
/// short answers at temperature 0. Too strict for prose.
class EqualityJudge : public Judge {
 public:
  std::optional<bool> same(std::string_view prompt, std::string_view stored, std::string_view fresh) const override;
};

/// Responses whose vectors have a similarity of at least `threshold`. Sees what fits into the encoder's window, and is
/// as blind to a wrong number or a missing "not" as the encoder is. Two embeddings.
class EmbeddingJudge : public Judge {
 public:
  /// Throws `Error(usage)` for no embedder or a threshold outside [-1, 1].
  EmbeddingJudge(std::shared_ptr<const Embedder> embedder, double threshold);
  std::optional<bool> same(std::string_view prompt, std::string_view stored, std::string_view fresh) const override;

 private:
  std::shared_ptr<const Embedder> embedder_;
  double threshold_;
};

/// A function of the caller's, an LLM as a judge, say.
class CallbackJudge : public Judge {
 public:
  using Function =
      std::function<std::optional<bool>(std::string_view prompt, std::string_view stored, std::string_view fresh)>;
  /// Throws `Error(usage)` for an empty function.
  explicit CallbackJudge(Function function);
  std::optional<bool> same(std::string_view prompt, std::string_view stored, std::string_view fresh) const override;

 private:
  Function function_;
};

/// Waits for another judge no longer than `limit`, then cannot tell. Each question runs on a thread of its own with
/// copies of the texts; those that hang are left alone, and while `max_stuck` do, no question is asked.
class TimedJudge : public Judge {
 public:
  /// Throws `Error(usage)` for no judge, or a limit or max_stuck of 0.
  TimedJudge(std::shared_ptr<const Judge> judge, std::chrono::milliseconds limit, std::size_t max_stuck = 8);
  std::optional<bool> same(std::string_view prompt, std::string_view stored, std::string_view fresh) const override;

 private:
  std::shared_ptr<const Judge> judge_;
  std::chrono::milliseconds limit_;
  std::size_t max_stuck_;
  std::shared_ptr<std::atomic<std::size_t>> running_;
};

}  // namespace promptcache
