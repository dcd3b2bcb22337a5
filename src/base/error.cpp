#include "promptcache/base/error.hpp"

#include <cerrno>
#include <system_error>  // generic_category: thread-safe text of an errno value

namespace promptcache {
namespace {

std::string message_of(const Where& where, const std::string& found, const std::string& wanted) {
  std::string text;
  if (!where.place.empty()) {
    text += where.place;
    if (where.line != 0) text += ":" + std::to_string(where.line);
    text += ": ";
  }
  return text + "found " + found + ", wanted " + wanted;
}

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOENT: return ErrorCode::not_found;
    case EACCES:
    case EPERM:
    case EROFS:
    case EISDIR:
    case ENOTDIR: return ErrorCode::access;
    default: return ErrorCode::io;
  }
}

}  // namespace

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::usage: return "usage";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::access: return "access";
    case ErrorCode::io: return "io";
    case ErrorCode::format: return "format";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::mismatch: return "mismatch";
    case ErrorCode::numeric: return "numeric";
    case ErrorCode::diverged: return "diverged";
    case ErrorCode::closed: return "closed";
    case ErrorCode::busy: return "busy";
  }
  return "unknown";
}

Error::Error(ErrorCode code, const Where& where, const std::string& found, const std::string& wanted)
    : std::runtime_error(message_of(where, found, wanted)), code_(code) {}

Error system_error(const Where& where, int error_number, const std::string& wanted) {
  return Error(code_of(error_number), where, "'" + std::generic_category().message(error_number) + "'", wanted);
}

}  // namespace promptcache
