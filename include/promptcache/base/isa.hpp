#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace promptcache {

/// Name of the instruction set the vector kernels and oneDNN run on: the best one of this processor, or the one named
/// by the environment variable PROMPTCACHE_ISA, which is read once, at the first call. Thread-safe.
///
/// Names on x86: scalar, ssse3, sse4, avx2, avx512, avx512_dl (AVX-512 with VNNI and later extensions).
/// Throws `Error(usage)`, each time, when PROMPTCACHE_ISA names none of `available_isas()`.
std::string_view active_isa();

/// What this build and this processor can run, best first. Thread-safe.
std::vector<std::string> available_isas();

/// Runs the vector kernels on another instruction set until the end of the scope, so that tests and benchmarks can
/// compare them in one process; oneDNN keeps the one it started with. Not thread-safe: no kernel may be running.
class ScopedIsa {
 public:
  /// Throws `Error(usage)` for a name that is not available.
  explicit ScopedIsa(std::string_view name);
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;
  ~ScopedIsa();
};

}  // namespace promptcache
