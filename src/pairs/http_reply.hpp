#pragma once

#include <chrono>
#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>

#include "promptcache/pairs/chat_teacher.hpp"

namespace promptcache::pairs {

/// One printable line of at most `longest` bytes: control characters and runs of white space become one space, a cut is
/// marked. Safe to print on a terminal whatever a server sent.
std::string one_line(std::string_view text, std::size_t longest = 200);

/// Every occurrence of `secret` as ***.
std::string without_secret(std::string text, std::string_view secret);

/// What a body of an error says: the message in JSON as the usual servers give it, the text itself otherwise.
std::string message_of_error(const std::string& body);

/// Reads the body of a reply with status 200; the text is not cut yet, nor rid of any secret. Outcome unavailable when
/// it is not a chat completion: a proxy's page, a body of another schema; the next try may get the real one.
TeacherReply read_chat_completion(const std::string& body);

/// Reads a reply with any other status; `problem` is its message.
TeacherReply read_http_error(const HttpReply& reply, const std::string& problem);

/// The header field Retry-After, in seconds or as a date (RFC 9110); 0 for what is neither or past.
std::chrono::milliseconds retry_after(std::string_view value, std::time_t now);

}  // namespace promptcache::pairs
