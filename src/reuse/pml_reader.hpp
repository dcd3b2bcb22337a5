#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promptcache/base/error.hpp"
#include "promptcache/reuse/schema.hpp"

namespace promptcache::reuse {

struct Attribute {
  std::string name, value;
  Place place;
};

struct Token {
  enum class Kind { open, close, text, end };
  Kind kind = Kind::end;
  std::string text;                   ///< name of the element, or text with its entities replaced
  std::vector<Attribute> attributes;  ///< of an open tag
  bool empty = false;                 ///< an open tag that closes itself
  Place place;
};

/// Cuts PML into tags and texts: elements, attributes in quotes, the five entities and numeric ones, comments
/// (skipped), CDATA. No declarations or processing instructions. Does not look at how tags nest.
class PmlReader {
 public:
  PmlReader(std::string_view pml, std::string source) : rest_(pml), source_(std::move(source)) {}

  Token next();

  /// An error at a place: FILE:LINE:COLUMN.
  Error error(const Place& place, const std::string& found, const std::string& wanted) const;

 private:
  Place here() const { return {line_, column_}; }
  bool at(std::string_view text) const { return rest_.substr(0, text.size()) == text; }
  void skip(std::size_t count);
  void skip_white_space();
  std::string take_until(std::string_view end, const char* what);
  std::string name(const char* what);
  std::string entity();
  Attribute attribute();
  Token tag();

  std::string_view rest_;
  std::string source_;
  std::size_t line_ = 1, column_ = 1;
};

}  // namespace promptcache::reuse
