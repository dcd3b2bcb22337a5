#pragma once

#include <string>

#include "promptcache/reuse/schema.hpp"

namespace promptcache::reuse {

/// FILE:LINE:COLUMN, or what of it is known; `kind` stands for a file that there is none of.
inline std::string place_text(const std::string& source, const Place& place, const char* kind = "schema") {
  const std::string file = source.empty() ? kind : source;
  if (place.line == 0) return file;
  return file + ":" + std::to_string(place.line) + ":" + std::to_string(place.column);
}

}  // namespace promptcache::reuse
