#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "index/dot.hpp"
#include "promptcache/base/digest.hpp"

namespace promptcache::cache {

/// The vectors of prompts whose responses are being computed, by scope, so that a similar prompt can wait for one of
/// them. Everybody sees only those who came before, so nobody waits in a circle. Thread-safe; costs O(those of the
/// scope).
class NearFlights : public std::enable_shared_from_this<NearFlights> {
 public:
  struct Found {
    Digest key;
    std::string prompt;
    double similarity = 0;
  };
  using Place = std::shared_ptr<void>;  ///< given up when the last copy goes

  /// Takes a place and says which of those before is most similar.
  std::pair<Place, std::optional<Found>> enter(const Digest& scope, const Digest& key, std::string prompt,
                                               std::vector<float> vector) {
    std::optional<Found> best;
    std::uint64_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      std::vector<Item>& items = scopes_[scope];
      for (const Item& item : items) {
        const auto similarity =
            static_cast<double>(index::active_dot()(item.vector.data(), vector.data(), vector.size()));
        if (!best || similarity > best->similarity) best = Found{item.key, item.prompt, similarity};
      }
      number = ++last_;
      items.push_back({number, key, std::move(prompt), std::move(vector)});
    }
    const auto leave = [self = shared_from_this(), scope, number](void*) { self->leave(scope, number); };
    return {Place(this, leave), best};
  }

 private:
  struct Item {
    std::uint64_t number;
    Digest key;
    std::string prompt;
    std::vector<float> vector;
  };

  void leave(const Digest& scope, std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    const auto found = scopes_.find(scope);
    std::erase_if(found->second, [&](const Item& item) { return item.number == number; });
    if (found->second.empty()) scopes_.erase(found);
  }

  std::mutex mutex_;
  std::unordered_map<Digest, std::vector<Item>> scopes_;
  std::uint64_t last_ = 0;
};

}  // namespace promptcache::cache
