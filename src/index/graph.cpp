#include "index/graph.hpp"

// hnswlib is a header full of templates and of functions that are not even inline. Under a name of our own it cannot
// clash with the copy, perhaps of another version, that the serving binary itself uses. Its SIMD is not needed, since
// the distance is ours, and its prefetching reads past the end of a node's list of links.
#define hnswlib promptcache_hnswlib
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <cstring>
#include <functional>  // hash
#include <string_view>
#include <unordered_map>

#include "index/candidates.hpp"
#include "index/dot.hpp"

namespace promptcache::index {
namespace {

/// What hnswlib needs to know about vectors; the distance is the negated inner product, which loses no bit of it.
class InnerProduct : public hnswlib::SpaceInterface<float> {
 public:
  explicit InnerProduct(std::size_t dimension) : parameters_{active_dot(), dimension} {}
  std::size_t get_data_size() override { return parameters_.dimension * sizeof(float); }
  hnswlib::DISTFUNC<float> get_dist_func() override {
    return [](const void* a, const void* b, const void* parameters) {
      const auto* p = static_cast<const Parameters*>(parameters);
      return -p->dot(static_cast<const float*>(a), static_cast<const float*>(b), p->dimension);
    };
  }
  void* get_dist_func_param() override { return &parameters_; }

 private:
  struct Parameters {
    DotFunction dot;
    std::size_t dimension;
  };
  Parameters parameters_;
};

std::size_t hash_of(std::span<const float> vector) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(vector.data()), vector.size_bytes()});
}

constexpr std::size_t first_capacity = 1024;
constexpr float mend_no_neighbour = -1;  // share of the old neighbours whose links updatePoint makes anew

}  // namespace

struct Graph::Impl {
  using Node = std::size_t;

  InnerProduct space;
  std::size_t dimension;
  hnswlib::HierarchicalNSW<float> graph;
  std::size_t capacity = first_capacity;
  std::vector<std::vector<EntryId>> entries_of;  // of each node, in order; none: unused
  std::vector<Node> unused;
  std::unordered_map<EntryId, Node> node_of;
  std::unordered_multimap<std::size_t, Node> nodes_of_hash;  // of vectors in use, to find equal ones
  std::size_t changes = 0;

  Impl(std::size_t width, const HnswOptions& options)
      : space(width),
        dimension(width),
        graph(&space, first_capacity, options.m, options.ef_construction, options.seed) {
    graph.setEf(options.ef_search);
  }

  // Labels are node numbers and are given out in order, and so are hnswlib's own numbers.
  const float* vector_of(Node node) const {
    return reinterpret_cast<const float*>(graph.getDataByInternalId(static_cast<hnswlib::tableint>(node)));
  }

  bool equals(Node node, std::span<const float> vector) const {
    return std::memcmp(vector_of(node), vector.data(), vector.size_bytes()) == 0;
  }

  void add(EntryId id, std::span<const float> vector) {
    const std::size_t hash = hash_of(vector);
    const auto [begin, end] = nodes_of_hash.equal_range(hash);
    for (auto same = begin; same != end; ++same) {
      if (!equals(same->second, vector)) continue;
      std::vector<EntryId>& entries = entries_of[same->second];
      entries.insert(std::upper_bound(entries.begin(), entries.end(), id), id);  // nearly always the end
      node_of[id] = same->second;
      return;
    }
    const bool fresh = unused.empty();
    const Node node = fresh ? entries_of.size() : unused.back();
    if (node == capacity) {
      graph.resizeIndex(capacity * 2);
      capacity *= 2;
    }
    if (fresh) {
      graph.addPoint(vector.data(), node);
    } else {
      // Links that lead here from the old place stay until the next rebuild. Mending each of them, as hnswlib does when
      // asked to add a label that it knows, costs ten additions and gains a percent of recall.
      graph.unmarkDelete(node);
      graph.updatePoint(vector.data(), static_cast<hnswlib::tableint>(node), mend_no_neighbour);
    }
    if (fresh) {
      entries_of.emplace_back();
    } else {
      unused.pop_back();
      ++changes;
    }
    entries_of[node].push_back(id);
    node_of[id] = node;
    nodes_of_hash.emplace(hash, node);
  }

  bool remove(EntryId id) {
    const auto found = node_of.find(id);
    if (found == node_of.end()) return false;
    const Node node = found->second;
    node_of.erase(found);
    std::vector<EntryId>& entries = entries_of[node];
    entries.erase(std::lower_bound(entries.begin(), entries.end(), id));
    if (!entries.empty()) return true;
    const auto [begin, end] = nodes_of_hash.equal_range(hash_of({vector_of(node), dimension}));
    nodes_of_hash.erase(std::find_if(begin, end, [&](const auto& item) { return item.second == node; }));
    graph.markDelete(node);
    unused.push_back(node);
    ++changes;
    return true;
  }
};

Graph::Graph(std::size_t dimension, const HnswOptions& options) : impl_(std::make_unique<Impl>(dimension, options)) {}

Graph::~Graph() = default;

std::size_t Graph::size() const { return impl_->node_of.size(); }
std::size_t Graph::nodes() const { return impl_->entries_of.size(); }
std::size_t Graph::unused() const { return impl_->unused.size(); }
std::size_t Graph::changes() const { return impl_->changes; }

std::vector<EntryId> Graph::ids() const {
  std::vector<EntryId> result;
  result.reserve(impl_->node_of.size());
  for (const auto& [id, node] : impl_->node_of) result.push_back(id);
  return result;
}

bool Graph::read(EntryId id, std::span<float> out) const {
  const auto found = impl_->node_of.find(id);
  if (found == impl_->node_of.end()) return false;
  std::copy_n(impl_->vector_of(found->second), impl_->dimension, out.begin());
  return true;
}

void Graph::add(EntryId id, std::span<const float> vector) { impl_->add(id, vector); }

bool Graph::remove(EntryId id) { return impl_->remove(id); }

std::vector<Candidate> Graph::search(std::span<const float> vector, std::size_t k) const {
  std::vector<Candidate> result;
  if (k == 0 || impl_->node_of.empty()) return result;
  auto nearest = impl_->graph.searchKnn(vector.data(), std::min(k, impl_->entries_of.size()));
  for (; !nearest.empty(); nearest.pop()) {
    const std::vector<EntryId>& entries = impl_->entries_of[nearest.top().second];
    for (std::size_t i = 0; i < std::min(k, entries.size()); ++i) {  // thousands may share a vector
      result.push_back({entries[i], -nearest.top().first});
    }
  }
  std::sort(result.begin(), result.end(), better);
  if (result.size() > k) result.resize(k);
  return result;
}

}  // namespace promptcache::index
