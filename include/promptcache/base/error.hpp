#pragma once

#include <cstddef>    // size_t
#include <stdexcept>  // runtime_error, the base of Error
#include <string>

namespace promptcache {

/// What kind of thing went wrong; every `Error` carries one.
enum class ErrorCode {
  usage,        ///< the caller broke a documented rule (wrong size, spent ticket, bad option)
  not_found,    ///< a file, tensor, column or entry that must exist does not
  access,       ///< the operating system refuses this path: permission, read-only, a directory for a file
  io,           ///< reading or writing failed half-way: disk full, device error
  format,       ///< the bytes are there but are not what the format demands
  unsupported,  ///< well-formed, but a feature this library does not have
  mismatch,     ///< two things that must agree do not (shape, vocabulary, identity)
  numeric,      ///< NaN or infinity where a finite number is needed
  diverged,     ///< a computation of ours ran into NaN or infinity on finite input
  closed,       ///< the object this belongs to is gone
  busy,         ///< another process or thread has it
};

/// Name of a code as it appears in messages and logs, for example "format".
const char* to_string(ErrorCode code) noexcept;

/// Where in the caller's data an error was found; `line` 0 means "no line".
struct Where {
  std::string place;     ///< usually a file path; may name an argument or tensor
  std::size_t line = 0;  ///< 1-based line in that file
};

/// The one exception of this library, thrown on opening, loading and misuse.
///
/// The message is built here and nowhere else:
///     pairs.tsv:17: found label 'maybe', wanted a number in [0, 1]
class Error : public std::runtime_error {
 public:
  /// `found` and `wanted` are noun phrases; they complete the sentence above.
  Error(ErrorCode code, const Where& where, const std::string& found, const std::string& wanted);

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

/// Error of a failed system call: `found` is the text of `error_number` (errno), the code is not_found, access or io.
Error system_error(const Where& where, int error_number, const std::string& wanted);

}  // namespace promptcache
