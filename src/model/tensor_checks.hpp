#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>

#include "promptcache/base/error.hpp"

namespace promptcache {

/// "[2, 3]".
inline std::string shape_text(std::span<const std::size_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

/// Throws `Error(numeric)` for NaN or infinity.
inline void require_finite(const Where& where, std::span<const float> values) {
  const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad == values.end()) return;
  throw Error(ErrorCode::numeric, where, std::to_string(*bad) + " at element " + std::to_string(bad - values.begin()),
              "finite weights");
}

}  // namespace promptcache
