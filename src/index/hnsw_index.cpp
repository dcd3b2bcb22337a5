#include "promptcache/index/hnsw_index.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <shared_mutex>  // shared_lock
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "index/candidates.hpp"
#include "index/graph.hpp"
#include "index/quantize.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/fair_shared_mutex.hpp"
#include "promptcache/index/flat_index.hpp"

namespace promptcache {
namespace {

void check(const HnswOptions& options) {
  const auto require = [](bool good, const char* place, const std::string& found, const char* wanted) {
    if (!good) throw Error(ErrorCode::usage, {place}, found, wanted);
  };
  require(options.m >= 2 && options.m <= 1024, "HnswOptions.m", std::to_string(options.m), "2 to 1024");
  require(options.ef_construction >= 1, "HnswOptions.ef_construction", "0", "at least 1");
  require(options.ef_search >= 1, "HnswOptions.ef_search", "0", "at least 1");
  require(options.rebuild_after > 0, "HnswOptions.rebuild_after", std::to_string(options.rebuild_after),
          "a number above 0");
}

}  // namespace

/// Entries are on one of two shelves: the exact scan or the graph. A rebuild fills a shelf of its own from the one in
/// use, entry by entry, while changes to the latter are noted in a journal; it catches up with the journal and is
/// exchanged for the old shelf.
struct HnswIndex::Impl {
  using Graph = index::Graph;

  struct Change {
    EntryId id;
    std::vector<float> vector;  // empty: removed
  };
  struct Shelf {
    std::unique_ptr<FlatIndex> flat;  // exactly one of the two is there
    std::unique_ptr<Graph> graph;

    std::size_t size() const { return flat ? flat->size() : graph->size(); }
    std::vector<EntryId> ids() const { return flat ? flat->ids() : graph->ids(); }
    bool read(EntryId id, std::span<float> out) const { return flat ? flat->read(id, out) : graph->read(id, out); }
    bool remove(EntryId id) { return flat ? flat->remove(id) : graph->remove(id); }
    void add(EntryId id, std::span<const float> vector) {
      if (flat) {
        flat->add(id, vector);
      } else {
        graph->remove(id);
        graph->add(id, vector);
      }
    }
    void apply(const Change& change) {
      if (change.vector.empty()) {
        remove(change.id);
      } else {
        add(change.id, change.vector);
      }
    }
  };

  static constexpr std::size_t last_changes = 16;  // applied under the lock: milliseconds that searches wait

  const std::size_t dimension;
  const HnswOptions options;
  mutable FairSharedMutex mutex;  // of everything below; hnswlib 0.6.2 races when adding beside searching
  Shelf shelf;
  std::vector<Change> journal;
  bool rebuilding = false;
  bool catching_up = false;  // changes wait while the journal is full, or it might never be done
  std::size_t rebuilds = 0;
  std::size_t failed_rebuilds = 0;
  std::size_t rest_after_failure = 0;  // changes to go before another attempt
  mutable std::condition_variable_any rebuilt;
  std::condition_variable_any journal_taken;
  std::atomic<bool> closing{false};
  std::thread worker;

  Impl(std::size_t width, const HnswOptions& given) : dimension(width), options(given) {
    check(options);
    shelf = empty_shelf(0);
  }

  ~Impl() {
    closing = true;
    if (worker.joinable()) worker.join();
  }

  Shelf empty_shelf(std::size_t entries) const {
    Shelf result;
    if (entries < options.graph_from) {
      result.flat = std::make_unique<FlatIndex>(dimension, options.vectors);
    } else {
      result.graph = std::make_unique<Graph>(dimension, options);
    }
    return result;
  }

  bool worn() const {
    const std::size_t entries = shelf.size();
    if (shelf.flat) return entries >= options.graph_from;
    if (entries < options.graph_from / 2) return true;  // half, so that there is no to and fro about one size
    const double limit = options.rebuild_after * static_cast<double>(entries);
    return static_cast<double>(shelf.graph->dead_nodes()) > limit;
  }

  /// Called with the unique lock held, after a change.
  void rebuild_if_worn(std::unique_lock<FairSharedMutex>& lock) {
    if (rest_after_failure > 0) --rest_after_failure;
    if (rebuilding || closing || rest_after_failure > 0 || !worn()) return;
    rebuilding = true;
    std::thread previous = std::move(worker);  // has set `rebuilding` to false as its last act: the join is short
    lock.unlock();
    if (previous.joinable()) previous.join();
    std::thread next;
    try {
      next = std::thread([this] { rebuild(); });
    } catch (const std::system_error&) {  // no thread to be had now: a later change tries again
      lock.lock();
      rebuilding = false;
      return;
    }
    lock.lock();
    worker = std::move(next);
  }

  /// Changes to a full journal wait until it is taken: at most 256 changes of the graph, as long as the rebuild can
  /// keep up with them otherwise.
  std::unique_lock<FairSharedMutex> lock_for_change() {
    std::unique_lock lock(mutex);
    journal_taken.wait(lock, [&] { return !catching_up || journal.size() < last_changes; });
    return lock;
  }

  /// The worker's work: once, and again while the changes made meanwhile have worn the new shelf too.
  void rebuild() {
    for (bool again = true; again;) {
      Shelf other;  // the new shelf while it is filled, the old one afterwards
      bool exchanged = false;
      try {
        exchanged = fill(other) && catch_up_and_exchange(other);
      } catch (const std::exception&) {  // memory; the old shelf goes on
      }
      const std::unique_lock lock(mutex);
      if (exchanged) {
        ++rebuilds;
      } else if (!closing) {
        ++failed_rebuilds;
        rest_after_failure = std::max<std::size_t>(1024, shelf.size() / 4);
      }
      again = exchanged && !closing && worn();
      rebuilding = again;
      journal = {};
      catching_up = false;
      journal_taken.notify_all();
      rebuilt.notify_all();
    }
  }

  /// Copies the shelf in use, entry by entry, while it changes. False when closing.
  bool fill(Shelf& fresh) {
    std::vector<EntryId> ids;
    {
      const std::unique_lock lock(mutex);
      journal.clear();
      ids = shelf.ids();
    }
    fresh = empty_shelf(ids.size());
    std::vector<float> vector(dimension);
    for (const EntryId id : ids) {
      if (closing) return false;
      {
        const std::shared_lock lock(mutex);
        if (!shelf.read(id, vector)) continue;  // removed meanwhile
      }
      fresh.add(id, vector);
    }
    return true;
  }

  /// Applies what has changed since `fill` began. The last few changes are applied under the lock, so that nothing can
  /// come between them and the exchange. False when closing.
  bool catch_up_and_exchange(Shelf& fresh) {
    std::size_t before = std::numeric_limits<std::size_t>::max();
    for (;;) {
      std::vector<Change> changes;
      {
        const std::unique_lock lock(mutex);
        if (journal.size() <= last_changes) {
          for (const Change& item : journal) fresh.apply(item);
          std::swap(shelf, fresh);
          return true;
        }
        changes.swap(journal);
        catching_up = changes.size() <= 256 || changes.size() > before / 2;
        before = changes.size();
        journal_taken.notify_all();
      }
      for (const Change& item : changes) {
        if (closing) return false;
        fresh.apply(item);
      }
    }
  }
};

HnswIndex::HnswIndex(std::size_t dimension, const HnswOptions& options)
    : impl_(std::make_unique<Impl>(dimension, options)) {}

HnswIndex::~HnswIndex() = default;

std::size_t HnswIndex::dimension() const { return impl_->dimension; }

std::size_t HnswIndex::bytes_per_entry() const {
  constexpr std::size_t records = 200;  // labels, levels, the tables from entry to node and back
  const bool exact = impl_->options.vectors.exact == ExactVectors::in_memory;
  const std::size_t node = index::code_stride(dimension()) + (2 * impl_->options.m + 1) * sizeof(std::uint32_t);
  const auto dead_nodes = static_cast<std::size_t>(impl_->options.rebuild_after / 2 * static_cast<double>(node));
  return node + dead_nodes + (exact ? dimension() * sizeof(float) : 0) + records;
}

std::size_t HnswIndex::size() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->shelf.size();
}

void HnswIndex::add(EntryId id, std::span<const float> vector) {
  index::check_vector(vector, impl_->dimension);
  Impl::Change change{id, {vector.begin(), vector.end()}};
  std::unique_lock lock = impl_->lock_for_change();
  impl_->shelf.apply(change);
  if (impl_->rebuilding) impl_->journal.push_back(std::move(change));
  impl_->rebuild_if_worn(lock);
}

bool HnswIndex::remove(EntryId id) {
  std::unique_lock lock = impl_->lock_for_change();
  if (!impl_->shelf.remove(id)) return false;
  if (impl_->rebuilding) impl_->journal.push_back({id, {}});
  impl_->rebuild_if_worn(lock);
  return true;
}

std::size_t HnswIndex::search(std::span<const float> vector, std::span<Candidate> out) const {
  index::check_vector(vector, impl_->dimension);
  const std::shared_lock lock(impl_->mutex);
  return impl_->shelf.flat ? impl_->shelf.flat->search(vector, out) : impl_->shelf.graph->search(vector, out);
}

HnswIndex::Stats HnswIndex::stats() const {
  const std::shared_lock lock(impl_->mutex);
  Stats stats;
  if (const index::Graph* graph = impl_->shelf.graph.get()) {
    stats.graph = true;
    stats.nodes = graph->nodes();
    stats.dead_nodes = graph->dead_nodes();
  }
  stats.rebuilds = impl_->rebuilds;
  stats.rebuilding = impl_->rebuilding;
  stats.failed_rebuilds = impl_->failed_rebuilds;
  return stats;
}

void HnswIndex::wait_for_rebuild() const {
  std::shared_lock lock(impl_->mutex);
  impl_->rebuilt.wait(lock, [&] { return !impl_->rebuilding; });
}

}  // namespace promptcache
