#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace promptcache::cache {

/// A response while it arrives, for those who wait for the same one. Thread-safe.
class ResponseStream {
 public:
  void push(std::string_view chunk) {
    const std::lock_guard lock(mutex_);
    text_ += chunk;
    chunks_.push_back(static_cast<std::uint32_t>(chunk.size()));
    changed_.notify_all();
  }

  void finish() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  void fail(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    failure_ = std::move(failure);
    changed_.notify_all();
  }

  /// Follows the stream from its beginning.
  class Follower {
   public:
    explicit Follower(ResponseStream& stream) : stream_(stream) {
      const std::lock_guard lock(stream_.mutex_);
      ++stream_.followers_;
    }
    ~Follower() {
      const std::lock_guard lock(stream_.mutex_);
      --stream_.followers_;
    }
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    /// Waits for the next chunk; nothing at the end.
    std::optional<std::string> next() {
      std::unique_lock lock(stream_.mutex_);
      stream_.changed_.wait(lock, [&] { return stream_.ended_ || chunk_ < stream_.chunks_.size(); });
      if (chunk_ == stream_.chunks_.size()) return std::nullopt;
      const std::size_t length = stream_.chunks_[chunk_++];
      place_ += length;
      return stream_.text_.substr(place_ - length, length);
    }

    bool began() const { return chunk_ > 0; }

   private:
    ResponseStream& stream_;
    std::size_t chunk_ = 0;
    std::size_t place_ = 0;
  };

  bool followed() const {
    const std::lock_guard lock(mutex_);
    return followers_ > 0;
  }
  std::exception_ptr failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  std::vector<std::uint32_t> chunks() const {
    const std::lock_guard lock(mutex_);
    return chunks_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::vector<std::uint32_t> chunks_;
  std::size_t followers_ = 0;
  bool ended_ = false;
  std::exception_ptr failure_;
};

}  // namespace promptcache::cache
