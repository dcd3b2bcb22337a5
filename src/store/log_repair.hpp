#pragma once

#include <cstddef>
#include <string>

namespace promptcache::store {

/// What was found in a write-ahead log. SQLite reads one up to the first frame whose checksum is wrong and drops the
/// rest without a word, which is right after a loss of power and wrong after damage.
struct LogRepair {
  std::size_t corrected = 0;  ///< bytes put right: one a frame at most can be told from its checksum
  std::size_t accepted = 0;   ///< bytes left as they are, one of a few each: for the checksums of the records to find
  std::size_t lost = 0;       ///< finished transactions behind the one at which SQLite will stop
};

/// Puts right what can be put right in the bytes of a log (https://sqlite.org/fileformat2.html#walformat) with pages of
/// `page_size`. A last transaction that is not whole is not counted: a loss of power leaves one so.
LogRepair repair_log(std::string& log, std::size_t page_size);

}  // namespace promptcache::store
