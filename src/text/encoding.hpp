#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/text/tokenizer.hpp"

namespace promptcache::text {

/// Puts a text's own ids between start and end token and cuts them to `max_tokens` in all.
inline Encoding framed(const std::vector<std::int32_t>& ids, std::int32_t start, std::int32_t end, std::int32_t unknown,
                       std::size_t max_tokens) {
  constexpr std::size_t special = 2;
  if (max_tokens < special) {
    throw Error(ErrorCode::usage, {"max_tokens"}, std::to_string(max_tokens), "at least 2, for start and end token");
  }
  const std::size_t kept = std::min(ids.size(), max_tokens - special);
  Encoding encoding;
  encoding.full_length = ids.size() + special;
  encoding.ids.reserve(kept + special);
  encoding.ids.push_back(start);
  encoding.ids.insert(encoding.ids.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept));
  encoding.unknown_tokens = static_cast<std::size_t>(std::count(encoding.ids.begin() + 1, encoding.ids.end(), unknown));
  encoding.ids.push_back(end);
  return encoding;
}

}  // namespace promptcache::text
