#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "promptcache/store/entry.hpp"
#include "store/database.hpp"

namespace promptcache::store {

/// Texts of any bytes as one: each behind its length, four bytes, little-endian.
std::string pack(const std::vector<std::string>& texts);
std::optional<std::vector<std::string>> unpack(std::string_view bytes);

std::string pack(const Entry::Fields& fields);
std::optional<Entry::Fields> unpack_fields(std::string_view bytes);

/// The statements that make the tables of an empty store.
extern const char* const schema;
constexpr std::int64_t schema_version = 1;
constexpr std::int64_t application_id = 0x70634361;

/// Writes entries into the table `entries`.
class RecordWriter {
 public:
  explicit RecordWriter(Database& database);
  void write(const Entry& entry);

 private:
  Statement insert_;
};

/// Reads entries out of it in the order of their ids. Successive entries of one scope share their fields.
class RecordReader {
 public:
  explicit RecordReader(Database& database);

  void begin_behind(EntryId id);

  enum class Result : std::uint8_t { entry, damaged, end };
  Result next(Entry& entry);  ///< of a damaged record only the id is told

 private:
  Statement select_;
  std::string packed_fields_;
  std::shared_ptr<const Entry::Fields> fields_;
};

}  // namespace promptcache::store
