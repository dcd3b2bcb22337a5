#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <random>

#include "promptcache/pairs/labelling.hpp"

namespace promptcache::pairs {

/// A teacher wraps each message into a few tokens of its own.
inline constexpr std::size_t wrapping_tokens = 8;

/// Tokens to set aside for one answer.
inline std::size_t answer_room(const LabelPrompt& prompt, const LabelOptions& options) {
  return options.max_answer_tokens > 0 ? options.max_answer_tokens : default_answer_tokens(prompt.form());
}

/// Throws `Error(usage)`.
void check(const LabelOptions& options);

using PacingClock = std::chrono::steady_clock;

/// When the next request may go: a token bucket that holds one token, so that requests are evenly spaced and no window
/// has more than its share. Not thread-safe.
class RateLimit {
 public:
  explicit RateLimit(double requests_per_minute) {
    if (requests_per_minute > 0) {
      interval_ =
          std::chrono::duration_cast<PacingClock::duration>(std::chrono::duration<double>(60 / requests_per_minute));
    }
  }

  /// The earliest time for a request.
  PacingClock::time_point earliest() const { return std::max(next_, pause_end_); }

  /// Takes the token, at a time not before `earliest()`.
  void take(PacingClock::time_point now) { next_ = now + interval_; }

  /// No request before this time: what Retry-After asks for.
  void pause_until(PacingClock::time_point time) { pause_end_ = std::max(pause_end_, time); }

 private:
  PacingClock::duration interval_{0};
  PacingClock::time_point next_{};
  PacingClock::time_point pause_end_{};
};

/// What may still be spent. A request sets its estimate aside before it goes and settles afterwards, so that the sum
/// stays within the budget as long as no estimate is too low. Not thread-safe.
class Budget {
 public:
  Budget(std::size_t requests, std::size_t tokens) : most_requests_(requests), most_tokens_(tokens) {}

  enum class Verdict {
    granted,
    wait,  ///< it depends on what the requests in flight will have used
    spent,
  };

  Verdict request(std::size_t tokens) {
    if (most_requests_ > 0 && requests_ >= most_requests_) return Verdict::spent;
    if (most_tokens_ > 0 && used_ + set_aside_ + tokens > most_tokens_) {
      return set_aside_ > 0 ? Verdict::wait : Verdict::spent;
    }
    ++requests_;
    set_aside_ += tokens;
    return Verdict::granted;
  }

  void settle(std::size_t set_aside, std::size_t used) {
    set_aside_ -= set_aside;
    used_ += used;
  }

  /// Gives a request back that was granted and not sent.
  void give_back(std::size_t set_aside) {
    set_aside_ -= set_aside;
    --requests_;
  }

  std::size_t requests() const { return requests_; }

 private:
  std::size_t most_requests_, most_tokens_;
  std::size_t requests_ = 0, used_ = 0, set_aside_ = 0;
};

/// The delay before retry number `attempt` (from 0): doubled each time, times a factor drawn from [0.5, 1.5).
inline std::chrono::milliseconds back_off(const LabelOptions& options, std::size_t attempt, std::mt19937_64& random) {
  const double doubled = static_cast<double>(options.first_delay.count()) * std::pow(2.0, static_cast<double>(attempt));
  const double bounded = std::min(doubled, static_cast<double>(options.longest_delay.count()));
  const double factor = 0.5 + static_cast<double>(random() >> 11) * 0x1p-53;
  return std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(bounded * factor));
}

}  // namespace promptcache::pairs
