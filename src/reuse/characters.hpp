#pragma once

#include <algorithm>
#include <string_view>

namespace promptcache::reuse {

/// White space of PML.
inline constexpr std::string_view white_space = " \t\r\n";

inline bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

inline bool is_name_part(char c) { return is_name_start(c) || (c >= '0' && c <= '9') || c == '.' || c == '-'; }

/// [A-Za-z_][A-Za-z0-9_.-]*
inline bool is_name(std::string_view text) {
  return !text.empty() && is_name_start(text[0]) && std::all_of(text.begin(), text.end(), is_name_part);
}

}  // namespace promptcache::reuse
