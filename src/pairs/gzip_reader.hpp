#pragma once

#include <string>

namespace promptcache {

/// Content of a plain or gzip file, told apart by its first two bytes, not by its name. Throws `Error` naming the
/// path; a damaged or cut gzip stream is `format`.
std::string read_maybe_gzip(const std::string& path);

}  // namespace promptcache
