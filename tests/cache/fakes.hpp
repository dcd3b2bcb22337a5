#pragma once

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <limits>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>

#include "promptcache/promptcache.hpp"

namespace test {

/// Words to vectors by hashing: prompts that share words are similar, the same words in another order equal. Some words
/// make it misbehave: "throw", "nan", "long" (truncated), "strange" (unrepresented).
class WordEmbedder : public promptcache::Embedder {
 public:
  explicit WordEmbedder(std::size_t dimension = 32, std::string name = "words")
      : dimension_(dimension), name_(std::move(name)) {}

  std::size_t dimension() const override { return dimension_; }
  promptcache::Digest identity() const override { return promptcache::sha256(name_); }

  promptcache::EmbedReport embed(std::span<const std::string_view> texts, std::span<float> out) const override {
    promptcache::EmbedReport report;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      ++calls;
      float* vector = out.data() + i * dimension_;
      std::fill_n(vector, dimension_, 0.0F);
      std::istringstream words{std::string(texts[i])};
      for (std::string word; words >> word;) {
        if (word == "throw") throw std::runtime_error("the embedder's own error");
        if (word == "long") report.truncated.push_back(i);
        if (word == "strange") report.unrepresented.push_back(i);
        const promptcache::Digest digest = promptcache::sha256(word);
        for (std::size_t j = 0; j < dimension_; ++j) {
          vector[j] += (static_cast<float>(digest.bytes[j % 32]) - 127.5F) / 127.5F;
        }
        if (word == "nan") vector[0] = std::numeric_limits<float>::quiet_NaN();
      }
      float square = 0;
      for (std::size_t j = 0; j < dimension_; ++j) square += vector[j] * vector[j];
      for (std::size_t j = 0; j < dimension_; ++j) vector[j] /= std::sqrt(square);
    }
    return report;
  }

  mutable std::atomic<int> calls{0};

 private:
  std::size_t dimension_;
  std::string name_;
};

/// A store that throws on demand.
class FailingStore : public promptcache::MemoryStore {
 public:
  FailingStore() : MemoryStore({.keep_vectors = true}) {}
  std::atomic<bool> failing{false};
  PutResult put(promptcache::Entry entry) override { return check(), MemoryStore::put(std::move(entry)); }
  EntryPointer get(promptcache::EntryId id) const override { return check(), MemoryStore::get(id); }
  EntryPointer find(const promptcache::Digest& key) const override { return check(), MemoryStore::find(key); }

 private:
  void check() const {
    if (failing) throw std::runtime_error("no such disk");
  }
};

/// A door that threads hang at until it is opened.
class Door {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void shut() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
};

/// Remembers what it was told.
class RecordingPolicy : public promptcache::ThresholdPolicy {
 public:
  using ThresholdPolicy::ThresholdPolicy;
  promptcache::Decision decide(const promptcache::Evidence& evidence) const override {
    if (failing) throw std::runtime_error("undecided");
    return ThresholdPolicy::decide(evidence);
  }
  void observe(const promptcache::Evidence& evidence, bool was_correct) override {
    observed.push_back({evidence, was_correct});
  }
  bool failing = false;
  std::vector<std::pair<promptcache::Evidence, bool>> observed;
};

}  // namespace test
