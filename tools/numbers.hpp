#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include "promptcache/eval/roc.hpp"

namespace tool {

inline std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

/// Without needless digits: 0.87, 12, 1.5e-05.
inline std::string trimmed(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

/// To three digits.
inline std::string rounded(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

inline std::string fixed(const std::optional<double>& value, int digits) { return value ? fixed(*value, digits) : "-"; }

/// A share in percent.
inline std::string percent(const std::optional<double>& share) { return share ? fixed(100 * *share, 2) : "-"; }

inline std::string percent_with_limits(const std::optional<promptcache::IntervalEstimate>& share) {
  if (!share) return "-";
  return fixed(100 * share->value, 2) + " (" + fixed(100 * share->low, 2) + " to " + fixed(100 * share->high, 2) + ")";
}

inline std::string counted(std::size_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

}  // namespace tool
