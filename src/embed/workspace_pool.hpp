#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "embed/encoder.hpp"

namespace promptcache::embed {

/// A bounded number of workspaces, made when first needed. Safe from many threads.
class WorkspacePool {
 public:
  explicit WorkspacePool(std::size_t limit) : limit_(limit) {}

  /// A workspace for the length of a scope.
  class Lease {
   public:
    explicit Lease(WorkspacePool& pool) : pool_(pool), workspace_(pool.take()) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.put(std::move(workspace_)); }

    Workspace& operator*() const noexcept { return *workspace_; }
    Workspace* operator->() const noexcept { return workspace_.get(); }

   private:
    WorkspacePool& pool_;
    std::unique_ptr<Workspace> workspace_;
  };

 private:
  std::unique_ptr<Workspace> take() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [&] { return !idle_.empty() || made_ < limit_; });
    if (!idle_.empty()) {
      std::unique_ptr<Workspace> workspace = std::move(idle_.back());  // the last used, warm in the cache
      idle_.pop_back();
      return workspace;
    }
    idle_.reserve(made_ + 1);  // so that put() cannot fail
    auto workspace = std::make_unique<Workspace>();
    ++made_;
    return workspace;
  }

  void put(std::unique_ptr<Workspace> workspace) noexcept {
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(std::move(workspace));
    }
    returned_.notify_one();
  }

  std::size_t limit_;
  std::size_t made_ = 0;
  std::vector<std::unique_ptr<Workspace>> idle_;
  std::mutex mutex_;
  std::condition_variable returned_;
};

}  // namespace promptcache::embed
