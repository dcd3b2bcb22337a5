#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace promptcache {

/// RFC 4648, with padding.
std::string to_base64(std::string_view bytes);

/// Nothing for a character outside the alphabet; padding may be missing.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace promptcache
