#include "index/graph.hpp"

// hnswlib is a header full of templates and of functions that are not even inline. Under a name of our own it cannot
// clash with the copy, perhaps of another version, that the serving binary itself uses. Its SIMD is not needed, since
// the distance is ours, and its prefetching reads past the end of a node's list of links. Its search is not used
// either: it takes memory, and compares one vector at a time.
#define hnswlib promptcache_hnswlib
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>  // hash
#include <string_view>
#include <unordered_map>
#include <utility>

#include "index/candidates.hpp"
#include "index/dot.hpp"
#include "index/exact_rows.hpp"
#include "index/quantize.hpp"

namespace promptcache::index {
namespace {

/// What hnswlib needs to know about vectors. To it a vector is a row of codes and its scale; the distance is the
/// negated inner product.
class CodeSpace : public hnswlib::SpaceInterface<float> {
 public:
  explicit CodeSpace(std::size_t dimension) : parameters_{active_code_dot(), code_stride(dimension)} {}
  std::size_t get_data_size() override { return parameters_.stride + sizeof(CodeScale); }
  hnswlib::DISTFUNC<float> get_dist_func() override {
    return [](const void* a, const void* b, const void* parameters) {
      const auto* p = static_cast<const Parameters*>(parameters);
      const auto* x = static_cast<const std::int8_t*>(a);
      const auto* y = static_cast<const std::int8_t*>(b);
      return -p->dot(x, y, p->stride) * scale_of(x, p->stride).scale * scale_of(y, p->stride).scale;
    };
  }
  void* get_dist_func_param() override { return &parameters_; }

  static CodeScale scale_of(const std::int8_t* codes, std::size_t stride) {
    CodeScale scale;
    std::memcpy(static_cast<void*>(&scale), codes + stride, sizeof(scale));
    return scale;
  }

 private:
  struct Parameters {
    CodeDotFunction dot;
    std::size_t stride;
  };
  Parameters parameters_;
};

std::size_t hash_of(const std::int8_t* codes, std::size_t stride) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(codes), stride});
}

/// What a search needs of its own; kept by each thread, so that searches take no memory.
struct Scratch {
  struct Reached {
    float similarity;
    hnswlib::tableint node;
    bool live;
    bool expanded;
  };

  /// Which nodes a search has seen, of whatever graph: a node's mark counts when it is the search's own.
  class Marks {
   public:
    void begin(std::size_t nodes) {
      if (marks_.size() < nodes) marks_.resize(nodes);
      if (++mark_ == 0) {
        std::fill(marks_.begin(), marks_.end(), std::uint16_t{0});
        mark_ = 1;
      }
    }
    /// False when it was set already.
    bool set(std::size_t node) { return std::exchange(marks_[node], mark_) != mark_; }

   private:
    std::vector<std::uint16_t> marks_;
    std::uint16_t mark_ = 0;
  };

  CodedQuery query;
  Marks marks;
  std::vector<Reached> reached;  // best first
  std::vector<hnswlib::tableint> fresh;
  std::vector<const std::int8_t*> rows;
  std::vector<float> similarities;
  Shortlist shortlist;
  std::vector<Candidate> candidates;

  static Scratch& of_thread() {
    thread_local Scratch scratch;
    return scratch;
  }
};

constexpr std::size_t first_capacity = 1024;

}  // namespace

struct Graph::Impl {
  using Node = std::size_t;

  CodeSpace space;
  std::size_t dimension;
  std::size_t stride;
  std::size_t ef_search;
  hnswlib::HierarchicalNSW<float> graph;
  ExactRows exact;
  std::vector<std::int8_t> coded;  // the vector that is being added
  std::size_t capacity = first_capacity;
  struct NodeRecord {
    std::vector<EntryId> entries;  // in order; none: the node is left for the ways that lead through it
    std::size_t exact_row = 0;
  };
  std::vector<NodeRecord> nodes;
  std::size_t dead_nodes = 0;
  std::vector<std::size_t> free_exact_rows;  // of dead nodes
  std::size_t exact_rows = 0;
  std::unordered_map<EntryId, Node> node_of;
  std::unordered_multimap<std::size_t, Node> nodes_of_hash;  // of vectors in use, to find equal ones

  Impl(std::size_t width, const HnswOptions& options)
      : space(width),
        dimension(width),
        stride(code_stride(width)),
        ef_search(options.ef_search),
        graph(&space, first_capacity, options.m, options.ef_construction, options.seed),
        exact(width, options.vectors),
        coded(stride + sizeof(CodeScale)) {}

  // Labels are node numbers and are given out in order, and so are hnswlib's own numbers.
  const std::int8_t* codes_of(Node node) const {
    return reinterpret_cast<const std::int8_t*>(graph.getDataByInternalId(static_cast<hnswlib::tableint>(node)));
  }
  CodeScale scale_of(Node node) const { return CodeSpace::scale_of(codes_of(node), stride); }

  const float* exact_row(Node node) const { return exact.read(nodes[node].exact_row); }

  bool equals(Node node, std::span<const float> vector) const {
    return exact.kept() ? std::memcmp(exact_row(node), vector.data(), vector.size_bytes()) == 0
                        : std::memcmp(codes_of(node), coded.data(), coded.size()) == 0;
  }

  void read(Node node, std::span<float> out) const {
    if (exact.kept()) {
      std::copy_n(exact_row(node), dimension, out.begin());
    } else {
      dequantize(codes_of(node), scale_of(node), out);
    }
  }

  void add(EntryId id, std::span<const float> vector) {
    const CodeScale scale = quantize(vector, coded.data());
    std::memcpy(coded.data() + stride, &scale, sizeof(scale));
    const std::size_t hash = hash_of(coded.data(), stride);
    const auto [begin, end] = nodes_of_hash.equal_range(hash);
    for (auto same = begin; same != end; ++same) {
      if (!equals(same->second, vector)) continue;
      std::vector<EntryId>& entries = nodes[same->second].entries;
      entries.insert(std::upper_bound(entries.begin(), entries.end(), id), id);  // nearly always the end
      node_of[id] = same->second;
      return;
    }
    // A dead node is not used again: the links that lead to its old place would lead astray. In trials that cost two
    // percent of recall by the time all entries were exchanged, and mending the links cost ten additions.
    const Node node = nodes.size();
    if (node == capacity) {
      graph.resizeIndex(capacity * 2);
      capacity *= 2;
    }
    if (free_exact_rows.empty()) {
      exact.resize(exact_rows + 1);
      free_exact_rows.push_back(exact_rows++);
    }
    nodes.reserve(capacity);
    graph.addPoint(coded.data(), node);
    nodes.push_back({{}, free_exact_rows.back()});
    free_exact_rows.pop_back();
    exact.write(nodes[node].exact_row, vector);
    nodes[node].entries.push_back(id);
    node_of[id] = node;
    nodes_of_hash.emplace(hash, node);
  }

  bool remove(EntryId id) {
    const auto found = node_of.find(id);
    if (found == node_of.end()) return false;
    const Node node = found->second;
    node_of.erase(found);
    std::vector<EntryId>& entries = nodes[node].entries;
    entries.erase(std::lower_bound(entries.begin(), entries.end(), id));
    if (!entries.empty()) return true;
    const auto [begin, end] = nodes_of_hash.equal_range(hash_of(codes_of(node), stride));
    nodes_of_hash.erase(std::find_if(begin, end, [&](const auto& item) { return item.second == node; }));
    graph.markDelete(node);
    free_exact_rows.push_back(nodes[node].exact_row);
    entries = {};
    ++dead_nodes;
    return true;
  }

  float similarity_to(const CodedQuery& query, Node node) const {
    float sum = 0;
    dot_codes(query.values(), codes_of(node), 1, stride, &sum);
    return query.similarity(sum, scale_of(node));
  }

  /// The way down the upper levels, always to the better neighbour.
  hnswlib::tableint descend(const CodedQuery& query) const {
    hnswlib::tableint node = graph.enterpoint_node_;
    float best = similarity_to(query, node);
    for (int level = graph.maxlevel_; level > 0; --level) {
      for (bool moved = true; moved;) {
        moved = false;
        hnswlib::linklistsizeint* links = graph.get_linklist(node, level);
        const std::size_t count = graph.getListCount(links);
        for (std::size_t i = 1; i <= count; ++i) {
          const float similarity = similarity_to(query, links[i]);
          if (similarity <= best) continue;
          best = similarity;
          node = links[i];
          moved = true;
        }
      }
    }
    return node;
  }

  /// Fills `reached` with the best live nodes found, `ef` of them if there are so many, and dead ones among them.
  void explore(Scratch& scratch, std::size_t ef) const {
    using Reached = Scratch::Reached;
    std::vector<Reached>& reached = scratch.reached;
    reached.clear();
    const hnswlib::tableint start = descend(scratch.query);
    const auto is_live = [&](hnswlib::tableint node) { return !graph.isMarkedDeleted(node); };
    reached.push_back({similarity_to(scratch.query, start), start, is_live(start), false});
    std::size_t live = reached.front().live ? 1 : 0;
    scratch.marks.begin(nodes.size());
    scratch.marks.set(start);
    for (std::size_t next = 0; next < reached.size();) {
      if (reached[next].expanded) {
        ++next;
        continue;
      }
      reached[next].expanded = true;
      collect_fresh(scratch, reached[next].node);
      scratch.similarities.resize(scratch.rows.size());
      dot_codes_at(scratch.query.values(), scratch.rows.data(), scratch.rows.size(), stride,
                   scratch.similarities.data());
      for (std::size_t i = 0; i < scratch.rows.size(); ++i) {
        const float similarity =
            scratch.query.similarity(scratch.similarities[i], CodeSpace::scale_of(scratch.rows[i], stride));
        if (live >= ef && similarity <= reached.back().similarity) continue;
        const Reached arrived{similarity, scratch.fresh[i], is_live(scratch.fresh[i]), false};
        const auto place = std::upper_bound(reached.begin(), reached.end(), arrived,
                                            [](const auto& a, const auto& b) { return a.similarity > b.similarity; });
        next = std::min(next, static_cast<std::size_t>(place - reached.begin()));
        reached.insert(place, arrived);
        live += arrived.live ? 1 : 0;
        for (; live > ef || (live == ef && !reached.back().live); reached.pop_back()) {
          live -= reached.back().live ? 1 : 0;
        }
      }
    }
  }

  /// The neighbours of a node that were not seen before.
  void collect_fresh(Scratch& scratch, hnswlib::tableint node) const {
    scratch.fresh.clear();
    scratch.rows.clear();
    hnswlib::linklistsizeint* links = graph.get_linklist0(node);
    const std::size_t count = graph.getListCount(links);
    for (std::size_t i = 1; i <= count; ++i) {
      if (!scratch.marks.set(links[i])) continue;
      scratch.fresh.push_back(links[i]);
      scratch.rows.push_back(codes_of(links[i]));
    }
  }
};

Graph::Graph(std::size_t dimension, const HnswOptions& options) : impl_(std::make_unique<Impl>(dimension, options)) {}

Graph::~Graph() = default;

std::size_t Graph::size() const { return impl_->node_of.size(); }
std::size_t Graph::nodes() const { return impl_->nodes.size(); }
std::size_t Graph::dead_nodes() const { return impl_->dead_nodes; }

std::vector<EntryId> Graph::ids() const {
  std::vector<EntryId> result;
  result.reserve(impl_->node_of.size());
  for (const auto& [id, node] : impl_->node_of) result.push_back(id);
  return result;
}

bool Graph::read(EntryId id, std::span<float> out) const {
  const auto found = impl_->node_of.find(id);
  if (found == impl_->node_of.end()) return false;
  impl_->read(found->second, out);
  return true;
}

void Graph::add(EntryId id, std::span<const float> vector) { impl_->add(id, vector); }

bool Graph::remove(EntryId id) { return impl_->remove(id); }

std::size_t Graph::search(std::span<const float> vector, std::span<Candidate> out) const {
  if (out.empty() || impl_->node_of.empty()) return 0;
  const std::size_t k = std::min(out.size(), impl_->nodes.size());
  Scratch& scratch = Scratch::of_thread();
  scratch.query.assign(vector);
  impl_->explore(scratch, std::max(k, impl_->ef_search));
  const bool exact = impl_->exact.kept();
  scratch.shortlist.begin(k);
  for (const Scratch::Reached& each : scratch.reached) {
    if (!each.live) continue;
    scratch.shortlist.offer(each.node, each.similarity, exact ? scratch.query.slack(impl_->scale_of(each.node)) : 0);
  }
  scratch.candidates.clear();
  scratch.shortlist.for_each([&](std::size_t node, float highest) {
    float similarity = highest;
    if (exact) dot_rows(vector.data(), impl_->exact_row(node), 1, impl_->dimension, &similarity);
    const std::vector<EntryId>& entries = impl_->nodes[node].entries;
    for (std::size_t i = 0; i < std::min(out.size(), entries.size()); ++i) {  // thousands may share a vector
      scratch.candidates.push_back({entries[i], similarity});
    }
  });
  return write_best(scratch.candidates, out);
}

}  // namespace promptcache::index
