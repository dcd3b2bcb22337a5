#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "pairs/gzip_reader.hpp"
#include "support.hpp"

namespace test {

/// A golden file of tests/data, gzip-compressed JSON.
inline nlohmann::json golden_json(const std::string& name) {
  return nlohmann::json::parse(promptcache::read_maybe_gzip(data_file(name)));
}

}  // namespace test
