#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "promptcache/base/log.hpp"
#include "promptcache/pairs/label_prompt.hpp"
#include "promptcache/pairs/teacher.hpp"

namespace promptcache {

/// What came back over HTTP.
struct HttpReply {
  int status = 0;           ///< 0: no reply came, and `failure` says why
  std::string body;         ///< as much as came, bounded by whoever sent
  std::string retry_after;  ///< the header fields of these names
  std::string location;
  std::string failure;
  bool hopeless = false;  ///< no reply, and the next try would fare no better: a certificate that is not trusted, say
};

/// Posts a body of JSON to the completions address of an endpoint, with whatever key it wants, within a bounded time.
/// Called by many threads at once; does not follow redirects.
using HttpPost = std::function<HttpReply(const std::string& body)>;

struct ChatTeacherOptions {
  std::string model;
  AnswerForm form = AnswerForm::yes_no;  ///< json asks for the endpoint's JSON mode
  double temperature = 0;
  std::size_t max_answer_tokens = 0;  ///< 0: what the form needs
  std::string secret{};               ///< removed from every text that comes back; empty: none
};

/// A teacher that speaks OpenAI's chat completions over `post`. An endpoint that refuses JSON mode, "max_tokens" or
/// "temperature" is asked without, or with "max_completion_tokens", from then on; `log` gets a warning, once each.
Teacher make_chat_teacher(HttpPost post, ChatTeacherOptions options, LogCallback log = {});

}  // namespace promptcache
