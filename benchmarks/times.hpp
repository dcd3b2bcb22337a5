#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

inline double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

/// Times of one kind of action.
struct Times {
  std::vector<double> us;

  template <class Action>
  void add(Action&& action) {
    const auto begin = Clock::now();
    action();
    us.push_back(microseconds(Clock::now() - begin));
  }
  double at(double share) {
    const auto place = static_cast<std::ptrdiff_t>(share * static_cast<double>(us.size() - 1));
    std::nth_element(us.begin(), us.begin() + place, us.end());
    return us[static_cast<std::size_t>(place)];
  }
  void print(const char* name) {
    std::printf("  %-44s p50 %9.2f us   p99 %9.2f us\n", name, at(0.5), at(0.99));
    std::fflush(stdout);
  }
};

}  // namespace bench
