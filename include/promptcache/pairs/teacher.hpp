#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace promptcache {

/// What came of asking a teacher once.
struct TeacherReply {
  enum class Outcome {
    answered,     ///< `text` is the answer
    refused,      ///< the teacher declines to answer this question; asking again is no use
    rejected,     ///< the endpoint does not take this question (too long, say); asking again is no use
    unavailable,  ///< no answer this time: busy, broken or out of reach; to be asked again later
    again,        ///< to be asked again at once: the teacher has changed how it asks
    hopeless,     ///< no question will be answered: the key, the address or the model is wrong
  };

  Outcome outcome = Outcome::answered;
  std::string text{};   ///< the answer, or what was wrong in one line
  std::string model{};  ///< who answered, as the teacher names itself; may be empty
  std::optional<std::size_t> prompt_tokens{};
  std::optional<std::size_t> answer_tokens{};
  std::chrono::milliseconds retry_after{0};  ///< unavailable: the teacher asks not to be asked before
};

/// Asks a language model, or whoever judges, with a finished text. Called by many threads at once; must return within a
/// bounded time. An exception ends the labelling.
using Teacher = std::function<TeacherReply(const std::string& prompt)>;

}  // namespace promptcache
