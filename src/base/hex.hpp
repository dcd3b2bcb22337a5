#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace promptcache {

/// Lower-case hexadecimal digits, two a byte.
std::string to_hex(std::string_view bytes);

/// Nothing for an odd number of digits or any other character.
std::optional<std::string> from_hex(std::string_view text);

}  // namespace promptcache
