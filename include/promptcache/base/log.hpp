#pragma once

#include <functional>
#include <string_view>

namespace promptcache {

enum class LogLevel { info, warning, error };

/// Where the library's messages go; it never prints by itself. May be called from any thread.
using LogCallback = std::function<void(LogLevel, std::string_view)>;

}  // namespace promptcache
