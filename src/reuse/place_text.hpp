#pragma once

#include <string>

#include "promptcache/reuse/schema.hpp"

namespace promptcache::reuse {

/// FILE:LINE:COLUMN, or what of it is known.
inline std::string place_text(const std::string& source, const Place& place) {
  const std::string file = source.empty() ? "schema" : source;
  if (place.line == 0) return file;
  return file + ":" + std::to_string(place.line) + ":" + std::to_string(place.column);
}

}  // namespace promptcache::reuse
