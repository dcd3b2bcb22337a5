#pragma once

#include <cstdint>
#include <string>

namespace promptcache {

/// Where an index keeps its vectors as they were given, in f32. What it compares are codes of 8 bits a value, a quarter
/// of that size; they leave a few candidates, of which the vectors themselves tell the best.
enum class ExactVectors : std::uint8_t {
  in_memory,
  in_file,  ///< a file without a name in `VectorStorage::directory`, mapped: memory holds what the system finds room
            ///< for
  none,  ///< similarities are then those of the codes, off by some 0.001, and vectors that nearly tie may change places
};

struct VectorStorage {
  ExactVectors exact = ExactVectors::in_memory;
  std::string directory = {};  ///< of `ExactVectors::in_file`; empty: the system's for temporary files
};

}  // namespace promptcache
