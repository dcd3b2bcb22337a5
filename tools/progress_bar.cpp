#include "progress_bar.hpp"

#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace tool {
namespace {

std::string clock_text(double seconds) {
  char text[32];
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole >= 3600) {
    std::snprintf(text, sizeof(text), "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof(text), "%ld:%02ld", whole / 60, whole % 60);
  }
  return text;
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void ProgressBar::operator()(const promptcache::Progress& progress) {
  const Clock::time_point now = Clock::now();
  const bool again = progress.done < last_done_;  // the same stage anew, for another model
  last_done_ = progress.done;
  if (progress.stage != stage_ || again) {
    finish();
    stage_ = progress.stage;
    first_done_ = progress.done;
    began_ = now;
    drawn_ = {};
  }
  const bool complete = progress.total > 0 && progress.done >= progress.total;
  const std::chrono::duration<double> since_drawn = now - drawn_;
  if (!complete && drawn_ != Clock::time_point{} && since_drawn.count() < (terminal_ ? 0.1 : 10.0)) return;
  drawn_ = now;

  const double seconds = std::chrono::duration<double>(now - began_).count();
  const double rate = seconds > 0 ? static_cast<double>(progress.done - first_done_) / seconds : 0;
  std::string line(progress.stage);
  if (terminal_ && progress.total > 0) {
    constexpr std::size_t width = 24;
    const std::size_t filled = width * std::min(progress.done, progress.total) / progress.total;
    line += " [" + std::string(filled, '#') + std::string(width - filled, '.') + "]";
  }
  line += " " + std::to_string(progress.done);
  if (progress.total > 0) line += "/" + std::to_string(progress.total);
  line += " " + std::string(progress.unit);
  if (rate > 0) {
    char text[64];
    std::snprintf(text, sizeof(text), ", %.1f/s", rate);
    line += text;
    if (progress.total > progress.done) {
      line += ", " + clock_text(static_cast<double>(progress.total - progress.done) / rate) + " left";
    } else if (complete) {
      line += ", took " + clock_text(seconds);
    }
  }
  if (!progress.note.empty()) line += ", " + std::string(progress.note);
  if (terminal_) {
    std::cerr << "\r\033[K" << line << std::flush;
    open_line_ = true;
    if (complete) finish();
  } else {
    std::cerr << line << std::endl;
  }
}

void ProgressBar::finish() {
  if (open_line_) std::cerr << std::endl;
  open_line_ = false;
}

}  // namespace tool
