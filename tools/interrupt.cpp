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

promptcache::ProgressCallback interruptible(promptcache::ProgressCallback callback) {
  return [callback = std::move(callback)](const promptcache::Progress& progress) {
    if (requested) throw Interrupted();
    callback(progress);
  };
}

}  // namespace tool
