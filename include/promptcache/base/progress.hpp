#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace promptcache {

/// A report from long work; the library calls back, tools draw it.
struct Progress {
  std::string_view stage;  ///< what is being done, for example "epoch 2/3"
  std::size_t done = 0;    ///< units finished
  std::size_t total = 0;   ///< units in all, 0 when unknown
  std::string_view unit;   ///< plural noun of the units, for example "pairs"
  std::string_view note;   ///< short extra text, for example "loss 0.41"
};

/// Called from the working thread, rarely enough to draw on each call.
using ProgressCallback = std::function<void(const Progress&)>;

}  // namespace promptcache
