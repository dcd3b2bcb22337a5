#include "interrupt.hpp"

#include <atomic>
#include <csignal>
#include <utility>

namespace tool {
namespace {

std::atomic<bool> requested{false};

void request(int signal) {
  requested = true;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void catch_interrupts() {
  std::signal(SIGINT, request);
  std::signal(SIGTERM, request);
}

bool interrupt_requested() { return requested; }

std::string resume_command(int argc, const char* const* argv) {
  std::string command;
  for (int i = 0; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--resume") continue;
    if (word.empty() || word.find_first_of(" \t\n'\"$&|;<>()*?[]{}#~`\\!") != std::string::npos) {
      for (std::size_t at = word.find('\''); at != std::string::npos; at = word.find('\'', at + 4)) {
        word.replace(at, 1, "'\\''");
      }
      word = "'" + word + "'";
    }
    command += (i == 0 ? "" : " ") + word;
  }
  return command + " --resume";
}

promptcache::ProgressCallback interruptible(promptcache::ProgressCallback callback) {
  return [callback = std::move(callback)](const promptcache::Progress& progress) {
    if (requested) throw Interrupted();
    callback(progress);
  };
}

}  // namespace tool
