#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "promptcache/base/file.hpp"
#include "promptcache/pairs/pair_file.hpp"
#include "tools/loopback_server.hpp"
#include "tools/run_tool.hpp"

namespace test {

inline std::string pairs_text(int count, bool labelled = false) {
  std::string text = std::string("id\tq1\tq2\tsimilarity") + (labelled ? "\tlabel" : "") + "\n";
  for (int i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    text += n + "\tfirst " + n + "\tsecond " + n + "\t0." + std::to_string(100 + i);
    if (labelled) text += std::string("\t") + (i % 3 == 0 ? "1" : "0");
    text += "\n";
  }
  return text;
}

/// Yes for every other question.
inline std::string verdict(const std::string& question) { return (question.back() - '0') % 2 == 0 ? "Yes." : "no"; }

/// Files of one run, and the command line they make.
struct Setup {
  TemporaryDirectory directory;
  std::string pairs, out, questions;

  explicit Setup(const std::string& text = pairs_text(20)) {
    pairs = directory.write("pairs.tsv", text);
    out = directory.file("out.tsv");
    questions = directory.write("question.txt", "{q1}|{q2}");
  }
  std::string arguments(const std::string& url) const {
    return "pc-label --pairs " + pairs + " --out " + out + " --endpoint " + url + " --model judge --template " +
           questions + " ";
  }
  ToolResult run(const std::string& url, const std::string& more = "") const { return run_tool(arguments(url) + more); }
  std::string journal() const { return promptcache::read_file(out + ".journal.jsonl"); }
  promptcache::PairFile labelled() const { return promptcache::read_pair_file(out); }
};

/// A server that judges, and counts how often it was asked each question.
class Judge {
 public:
  explicit Judge(std::function<void(const std::string&, std::size_t times, Peer&)> behave = {},
                 const Certificate* certificate = nullptr)
      : behave_(std::move(behave)),
        server_([this](const WebRequest& request, Peer& peer) { answer(request, peer); }, certificate) {}

  std::string url() const { return server_.url(); }
  std::size_t requests() const { return server_.requests(); }
  std::map<std::string, std::size_t> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void answer(const WebRequest& request, Peer& peer) {
    const std::string question = question_of(request);
    std::size_t times = 0;
    {
      const std::lock_guard lock(mutex_);
      times = ++asked_[question];
    }
    if (behave_) {
      behave_(question, times, peer);
    } else {
      peer.reply(200, completion(verdict(question)));
    }
  }

  std::function<void(const std::string&, std::size_t, Peer&)> behave_;
  std::mutex mutex_;
  std::map<std::string, std::size_t> asked_;
  LoopbackServer server_;  // last: its threads use the others
};

inline bool has(const std::string& text, const std::string& piece) { return text.find(piece) != std::string::npos; }

}  // namespace test
