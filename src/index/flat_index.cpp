#include "promptcache/index/flat_index.hpp"

#include <algorithm>
#include <mutex>
#include <string>

#include "index/candidates.hpp"
#include "index/dot.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
FlatIndex::FlatIndex(std::size_t dimension) : dimension_(dimension) {
  if (dimension == 0) throw Error(ErrorCode::usage, {"dimension"}, "0", "at least 1");
}

std::size_t FlatIndex::size() const {
  const std::shared_lock lock(mutex_);
  return ids_.size();
}

void FlatIndex::add(EntryId id, std::span<const float> vector) {
  index::check_vector(vector, dimension_);
  const std::unique_lock lock(mutex_);
  const auto [place, fresh] = place_of_.try_emplace(id, ids_.size());
  if (fresh) {
    ids_.push_back(id);
    rows_.insert(rows_.end(), vector.begin(), vector.end());
  } else {
    std::copy(vector.begin(), vector.end(), rows_.begin() + static_cast<std::ptrdiff_t>(place->second * dimension_));
  }
}

bool FlatIndex::remove(EntryId id) {
  const std::unique_lock lock(mutex_);
  const auto found = place_of_.find(id);
  if (found == place_of_.end()) return false;
  const std::size_t place = found->second;
  place_of_.erase(found);
  const std::size_t last = ids_.size() - 1;
  if (place != last) {
    ids_[place] = ids_[last];
    place_of_[ids_[place]] = place;
    std::copy_n(rows_.end() - static_cast<std::ptrdiff_t>(dimension_), dimension_,
                rows_.begin() + static_cast<std::ptrdiff_t>(place * dimension_));
  }
  ids_.pop_back();
  rows_.resize(last * dimension_);
  return true;
}

std::vector<EntryId> FlatIndex::ids() const {
  const std::shared_lock lock(mutex_);
  return ids_;
}

bool FlatIndex::read(EntryId id, std::span<float> out) const {
  const std::shared_lock lock(mutex_);
  const auto found = place_of_.find(id);
  if (found == place_of_.end()) return false;
  std::copy_n(rows_.begin() + static_cast<std::ptrdiff_t>(found->second * dimension_), dimension_, out.begin());
  return true;
}

std::vector<Candidate> FlatIndex::search(std::span<const float> vector, std::size_t k) const {
  index::check_vector(vector, dimension_);
  const std::shared_lock lock(mutex_);
  k = std::min(k, ids_.size());
  std::vector<Candidate> best;  // a heap with the worst of the best on top
  if (k == 0) return best;
  best.reserve(k + 1);
  constexpr std::size_t block = 256;
  float similarities[block];
  for (std::size_t begin = 0; begin < ids_.size(); begin += block) {
    const std::size_t count = std::min(block, ids_.size() - begin);
    index::dot_rows(vector.data(), rows_.data() + begin * dimension_, count, dimension_, similarities);
    for (std::size_t i = 0; i < count; ++i) {
      const Candidate candidate{ids_[begin + i], similarities[i]};
      if (best.size() == k && !index::better(candidate, best.front())) continue;
      best.push_back(candidate);
      std::push_heap(best.begin(), best.end(), index::better);
      if (best.size() > k) {
        std::pop_heap(best.begin(), best.end(), index::better);
        best.pop_back();
      }
    }
  }
  std::sort_heap(best.begin(), best.end(), index::better);
  return best;
}

}  // namespace promptcache
