#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "page.hpp"

namespace tool {

/// What a report was made from, without the names of directories, so that it reads the same on every machine.
class Provenance {
 public:
  /// `program` and its arguments as given; paths are cut down to their last part.
  Provenance(int argc, const char* const* argv);
  Provenance() = default;

  void add_file(const std::string& role, const std::string& path);        ///< with its SHA-256
  void add_model(const std::string& role, const std::string& directory);  ///< with that of its weights

  bool empty() const { return items_.empty() && command_.empty(); }

  /// Section, table and, at the end, command, version and date (UTC).
  void add_to(Page& page) const;
  nlohmann::ordered_json json() const;

 private:
  struct Item {
    std::string role, name, sha256;
  };
  std::vector<Item> items_;
  std::string command_;
};

}  // namespace tool
